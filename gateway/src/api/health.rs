//! What probes and monitors ask for. No key: the listener is internal.

use std::time::Duration;

use async_trait::async_trait;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use prometheus::{Encoder, Registry, TextEncoder};
use serde::Serialize;
use tokio::time::timeout;
use tracing::{debug, error};

use super::answer::{self, Answer};
use super::problem::{Code, Problem};

/// Bounds what waits here when a check hangs.
const READINESS_TIMEOUT: Duration = Duration::from_secs(5);

/// The process answers. Nothing else: a dead storage is no reason to restart a gateway.
pub(super) fn livez() -> Answer {
    answer::body(StatusCode::OK, HeaderValue::from_static("text/plain; charset=utf-8"), "ok")
}

/// Says whether a process should be sent work.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Asked for every probe, several times at once: it should be cheap, and answer within about two seconds.
    ///
    /// # Errors
    /// Why not, for people and scripts: `redis unavailable`.
    async fn check(&self) -> Result<(), &'static str>;
}

/// # Errors
/// [`Code::NotReady`], with the reason.
pub(super) async fn readyz(readiness: &dyn Readiness) -> Result<Answer, Problem> {
    match check_within(readiness, READINESS_TIMEOUT).await {
        Ok(()) => Ok(answer::json(StatusCode::OK, &serde_json::json!({ "ready": true }))),
        Err(reason) => {
            // Probes come every few seconds: the parts that need what is missing say it louder.
            debug!(reason, "not ready");
            Err(Problem::new(Code::NotReady, reason))
        }
    }
}

async fn check_within(readiness: &dyn Readiness, within: Duration) -> Result<(), &'static str> {
    timeout(within, readiness.check()).await.unwrap_or(Err("no answer in time"))
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
pub(super) struct Always;

#[cfg(test)]
#[async_trait]
impl Readiness for Always {
    async fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use http_body_util::BodyExt;

    use super::*;

    struct Hanging;

    #[async_trait]
    impl Readiness for Hanging {
        async fn check(&self) -> Result<(), &'static str> {
            pending().await
        }
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_answered_all_the_same() {
        assert!(readyz(&Always).await.is_ok());
        assert_eq!(check_within(&Hanging, Duration::from_millis(10)).await, Err("no answer in time"));
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
