//! What probes and monitors ask for. No key: the listener is internal.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use prometheus::{Encoder, Registry, TextEncoder};
use roost_storage::StorageError;
use serde::Serialize;
use tokio::time::timeout;
use tracing::{debug, error};

use super::answer::{self, Answer};
use super::problem::{Code, Problem};
use crate::node::Node;

const STORAGE_WAIT: Duration = Duration::from_secs(1);

/// The process answers. Nothing else: a dead storage is no reason to restart a gateway.
pub(super) fn livez() -> Answer {
    answer::body(StatusCode::OK, HeaderValue::from_static("text/plain; charset=utf-8"), "ok")
}

/// Whether new clients should come here: it does not drain, and its own mailbox answers in time. That is one small
/// look-up in the storage that connections depend on, and changes nothing.
///
/// # Errors
/// [`Code::NotReady`], with the reason.
pub(super) async fn readyz(node: &Node) -> Result<Answer, Problem> {
    if node.is_draining() {
        return Err(Problem::new(Code::NotReady, "draining"));
    }
    check_storage(node.storage.mailboxes.confirmed(&node.id), STORAGE_WAIT).await?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({ "ready": true })))
}

async fn check_storage<T>(
    look_up: impl Future<Output = Result<T, StorageError>>,
    within: Duration,
) -> Result<(), Problem> {
    match timeout(within, look_up).await {
        Ok(Ok(_)) => return Ok(()),
        // Probes come every few seconds: the parts that need the storage say it louder.
        Ok(Err(error)) => debug!(%error, "not ready"),
        Err(_) => debug!(?within, "not ready: the storage does not answer"),
    }
    Err(Problem::new(Code::NotReady, "storage unavailable"))
}

/// Everything the node counts, in Prometheus' text format.
pub(super) fn metrics(registry: &Registry) -> Result<Answer, Problem> {
    let (encoder, mut text) = (TextEncoder::new(), Vec::new());
    if let Err(error) = encoder.encode(&registry.gather(), &mut text) {
        error!(%error, "metrics not encoded");
        return Err(Problem::new(Code::Internal, "the metrics can not be encoded"));
    }
    let content_type = HeaderValue::from_str(encoder.format_type()).expect("the encoder's type is a header's text");
    Ok(answer::body(StatusCode::OK, content_type, text))
}

/// Which build this is.
pub(super) fn version() -> Answer {
    #[derive(Serialize)]
    struct Version {
        name: &'static str,
        version: &'static str,
    }
    answer::json(StatusCode::OK, &Version { name: "roost", version: env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http_body_util::BodyExt;

    use super::*;

    const WITHIN: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn a_storage_that_fails_or_does_not_answer_makes_the_node_unready() {
        assert_eq!(check_storage(ready(Ok(())), WITHIN).await, Ok(()));
        let failing = ready(Err::<(), _>(StorageError::Unavailable("gone".into())));
        assert_eq!(check_storage(failing, WITHIN).await.unwrap_err().code, Code::NotReady);
        let silent = pending::<Result<(), StorageError>>();
        assert_eq!(check_storage(silent, WITHIN).await.unwrap_err().code, Code::NotReady);
    }

    #[tokio::test]
    async fn the_reason_for_being_unready_is_a_field_of_its_own() {
        let answer = Problem::new(Code::NotReady, "draining").into_answer();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["reason"], "draining");
        assert_eq!(document["code"], "not_ready");
    }
}
