//! Who is let in, and by whom. The node wants TLS and a password.

use std::error::Error;

use roost_storage::scylla::{ScyllaConfig, ScyllaError, ScyllaStorage, migrate};

use super::certificates::certificates;
use super::shared::{PENDING_TTL, shared};

/// The error and its causes. A user who is not let in is never worth waiting for; a node that is not believed may be.
async fn refused(config: &ScyllaConfig, is_user: bool) -> String {
    let Err(error) = ScyllaStorage::open(config, PENDING_TTL).await else { panic!("it was opened") };
    for error in [&error, &migrate(config, true).await.unwrap_err()] {
        let expected = match error {
            ScyllaError::Refused { .. } => is_user && !error.is_transient(),
            ScyllaError::Unreachable { .. } => !is_user && error.is_transient(),
            _ => false,
        };
        assert!(expected, "{error:?}");
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_none_is_refused() {
    let good = &shared().config;
    ScyllaStorage::open(good, PENDING_TTL).await.expect("the right one is let in");
    let wrong = ScyllaConfig { password_file: Some(shared().file("wrong", "sesame")), ..good.clone() };
    let problem = refused(&wrong, true).await;
    assert!(problem.contains("bad credentials"), "{problem}");
    assert!(!problem.contains("sesame"), "{problem}");
    refused(&ScyllaConfig { username: None, password_file: None, ..good.clone() }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_or_with_another_authority_nobody_is_talked_to() {
    let good = &shared().config;
    let other = tempfile::tempdir().unwrap();
    certificates(other.path(), "127.0.0").unwrap();
    let problem = refused(&ScyllaConfig { ca_file: Some(other.path().join("ca.pem")), ..good.clone() }, false).await;
    assert!(problem.contains("invalid peer certificate"), "{problem}");
    refused(&ScyllaConfig { ca_file: None, ..good.clone() }, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datacenter_that_is_not_there_is_named_with_those_that_are() {
    let elsewhere = ScyllaConfig { local_datacenter: "elsewhere".into(), ..shared().config.clone() };
    let Err(error) = ScyllaStorage::open(&elsewhere, PENDING_TTL).await else { panic!("it was opened") };
    assert_eq!(
        error.to_string(),
        "there is no datacenter \"elsewhere\" in the ScyllaDB cluster: set scylla.local_datacenter to one of datacenter1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_named() {
    let missing = ScyllaConfig { ca_file: Some("/nowhere/ca.pem".into()), ..shared().config.clone() };
    let Err(error) = ScyllaStorage::open(&missing, PENDING_TTL).await else { panic!("it was opened") };
    assert!(error.to_string().starts_with("scylla.ca_file: /nowhere/ca.pem can not be read"), "{error}");
}
