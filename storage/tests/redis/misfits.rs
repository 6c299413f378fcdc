//! Servers and settings that are refused at start, each with its reason, and how a server is reached: TLS, users,
//! passwords.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use roost_harness::free_port;
use roost_harness::redis::{SINGLE, Server, Software};
use roost_storage::redis::{Durability, OpenError, RedisConfig, RedisUrl};
use roost_storage::{GatewayId, MailboxItem, MailboxPosition, Position, Put, Registration};

use crate::fixture::{config, open};
use crate::samples::{append, new_chat, new_user, said, session};

async fn refusal(config: &RedisConfig) -> OpenError {
    match open(config).await {
        Ok(_) => panic!("it opens"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_evict_is_refused_unless_its_policy_is_named() {
    let server = Server::start(Software::Valkey, &["--maxmemory-policy", "allkeys-lru"]);
    let config = config(&server.url(), Durability::Memory);
    let error = refusal(&config).await;
    assert!(matches!(&error, OpenError::Evicts { found } if found == "allkeys-lru"), "{error}");
    let other = RedisConfig { allow_eviction_policy: Some("volatile-lru".into()), ..config.clone() };
    assert!(matches!(refusal(&other).await, OpenError::Evicts { .. }));
    let named = RedisConfig { allow_eviction_policy: Some("allkeys-lru".into()), ..config };
    let store = open(&named).await.unwrap();
    append(&*store.log(), &said(&new_chat(), "risky")).await.unwrap();
    assert!(store.stats().eviction_allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_append_only_file_is_refused_where_one_is_asked_for() {
    let server = Server::start(Software::Redis, &[]);
    let aof = config(&server.url(), Durability::Aof);
    assert!(matches!(refusal(&aof).await, OpenError::NoAppendOnlyFile));
    open(&RedisConfig { durability: Durability::Memory, ..aof }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_before_it_writes_its_file_must_say_when_it_has() {
    let everysec = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let server = Server::start(Software::Redis, &everysec);
    let error = refusal(&config(&server.url(), Durability::Aof)).await;
    assert!(matches!(&error, OpenError::SyncsLate { found } if found == "everysec"), "{error}");
    let server = Server::start(Software::Valkey, &everysec);
    let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
    append(&*store.log(), &said(&new_chat(), "within a second or so")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_keeps_its_number_of_partitions() {
    let server = Server::start(Software::Redis, SINGLE);
    let first = config(&server.url(), Durability::Aof);
    open(&first).await.unwrap();
    let second = RedisConfig { partitions: NonZeroU16::new(17).unwrap(), ..first.clone() };
    assert!(matches!(refusal(&second).await, OpenError::Partitions { stored: 16, configured: 17 }));
    open(&first).await.unwrap();
    server.command(&format!("HSET {}{{format}} version 2", first.key_prefix));
    assert!(matches!(refusal(&first).await, OpenError::UnknownFormat { found } if found == "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_a_transient_refusal() {
    let nobody = config(&format!("redis://127.0.0.1:{}", free_port()), Durability::Memory);
    assert!(refusal(&nobody).await.is_transient());
    let nobody = config(&format!("redis-sentinel://127.0.0.1:{}/main", free_port()), Durability::Memory);
    assert!(refusal(&nobody).await.is_transient());
    let cluster = config(&format!("redis-cluster://127.0.0.1:{}", free_port()), Durability::Memory);
    assert!(refusal(&cluster).await.is_transient());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_no_transient_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start_with_password(Software::Redis, "correct");
    let password = |text: &str| {
        let file = dir.path().join(text);
        std::fs::write(&file, format!("{text}\n")).unwrap();
        Some(file)
    };
    let config = config(&server.url(), Durability::Memory);
    for wrong in [None, password("wrong")] {
        let error = refusal(&RedisConfig { password_file: wrong, ..config.clone() }).await;
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        assert!(!error.is_transient());
    }
    open(&RedisConfig { password_file: password("correct"), ..config.clone() }).await.unwrap();
    let in_url = format!("redis://:correct@127.0.0.1:{}", server.port);
    open(&RedisConfig { url: RedisUrl::new(in_url), ..config.clone() }).await.unwrap();
    let absent = RedisConfig { password_file: Some(dir.path().join("absent")), ..config };
    assert!(matches!(refusal(&absent).await, OpenError::File { key: "redis.password_file", .. }));
}

fn write_certificates(dir: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).unwrap();
    std::fs::write(dir.join("ca.pem"), certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("server.pem"), server.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}

/// The rules documented for a user of Roost, but for `WAITAOF`, which Redis 7.0 does not know.
const USER: &str = "user roost on >se%cret ~test-* &test-* -@all +info +script|load +evalsha +setrange +time +wait +config|get \
     +@stream +@hash +@set +@sortedset +get +set +exists +del +persist +pexpire +pexpireat +ping +publish +subscribe +unsubscribe";

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_a_user_with_only_the_documented_rights_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    write_certificates(dir.path());
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key, authority) = (file("server.pem"), file("server.key"), file("ca.pem"));
    std::fs::write(dir.path().join("users.acl"), format!("user default off\n{USER}\n")).unwrap();
    let users = file("users.acl");
    // The Valkey wheel is built without TLS.
    let settings = ["--port", "0", "--tls-port", "PORT", "--tls-cert-file", &certificate, "--tls-key-file", &key];
    let more = [
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
        "--aclfile",
        &users,
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ];
    let server = Server::start(Software::Redis, &[&settings[..], &more].concat());
    let url = format!("rediss://roost:se%25cret@127.0.0.1:{}", server.port);
    let config = RedisConfig { ca_file: Some(authority.into()), ..config(&url, Durability::Aof) };
    let store = open(&config).await.unwrap();

    let (log, chat) = (store.log(), new_chat());
    append(&*log, &said(&chat, "over tls")).await.unwrap();
    let read = log.read(log.partitions().of(&chat), Position::START, 1, Duration::from_secs(10)).await.unwrap();
    assert_eq!(read.len(), 1);
    let gateway = GatewayId::random();
    store.mailboxes().open(&gateway).await.unwrap();
    store.sessions().gateway_up(&gateway, Duration::from_secs(60)).await.unwrap();
    let (user, ring) = (new_user(), MailboxItem::Ring { user: new_user() });
    assert_eq!(store.sessions().register(&session(&user, &gateway, 1)).await.unwrap(), Registration::Done);
    assert_eq!(store.sessions().look_up(&[user]).await.unwrap()[0].len(), 1);
    assert_eq!(store.mailboxes().put(&gateway, vec![ring]).await.unwrap(), Put::Accepted);
    let read = store.mailboxes().read(&gateway, MailboxPosition::START, 1, Duration::from_secs(10)).await.unwrap();
    store.mailboxes().confirm(&gateway, read[0].position).await.unwrap();
    store.mailboxes().fence(&gateway).await.unwrap();
    store.mailboxes().remove(&gateway).await.unwrap();
    store.sessions().forget_gateway(&gateway).await.unwrap();
    store.signals().subscribe(&gateway).await.unwrap();
    store.check().await.unwrap();

    let system = RedisConfig { ca_file: None, ..config };
    assert!(matches!(refusal(&system).await, OpenError::Unavailable(_)), "an unknown authority is not believed");
}
