//! A start that can not succeed ends with 1 and a sentence that says what to do.

use roost_harness::cluster::Cluster;
use roost_harness::redis::{Server, Software};

use crate::place::options;

async fn is_refused(cluster: &Cluster<'_>, words: &[&str]) {
    for role in ["gateway", "fanout"] {
        let failure = cluster.refused(role).await;
        assert_eq!(failure.status.code(), Some(1), "{role}: {}", failure.stderr);
        let sentences: Vec<_> = failure.stderr.lines().filter(|line| line.starts_with("roost: ")).collect();
        let [sentence] = sentences[..] else { panic!("{role} ends with one sentence: {}", failure.stderr) };
        for word in words {
            assert!(sentence.contains(word), "{role}: {word} in {sentence}");
        }
        assert!(!failure.stderr.contains("the-wrong-one"), "{role} keeps the password to itself: {}", failure.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password_is_named() {
    let redis = Server::start_with_password(Software::Valkey, "the-right-one");
    let wrong = format!("redis://:the-wrong-one@127.0.0.1:{}", redis.port);
    let cluster = options().set("redis.url", wrong).start().await;
    is_refused(&cluster, &["redis can not be used", "password"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_keyspace_is_named() {
    let cluster = options().set("scylla.keyspace", "nobody_made_this").unmigrated();
    is_refused(&cluster, &["scylla can not be used", "nobody_made_this", "roost migrate"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_migrations_are_named() {
    // A keyspace there is, of somebody else's.
    let cluster = options().set("scylla.keyspace", "system_traces").unmigrated();
    is_refused(&cluster, &["scylla can not be used", "system_traces", "roost migrate"]).await;
}
