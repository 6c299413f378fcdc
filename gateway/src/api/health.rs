//! What probes and monitors ask for. No key: the listener is internal.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use prometheus::{Encoder, Registry, TextEncoder};
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

/// Whether new clients should come here: it does not drain, and its own mailbox can be read in time. Reading that is
/// one small look-up in the storage that connections depend on, and changes nothing.
///
/// # Errors
/// [`Code::NotReady`], with the reason.
pub(super) async fn readyz(node: &Node) -> Result<Answer, Problem> {
    if node.is_draining() {
        return Err(Problem::new(Code::NotReady, "draining"));
    }
    match timeout(STORAGE_WAIT, node.storage.mailboxes.confirmed(&node.id)).await {
        Ok(Ok(_)) => Ok(answer::json(StatusCode::OK, &serde_json::json!({ "ready": true }))),
        Ok(Err(error)) => {
            // Probes come every few seconds: the parts that need the storage say it louder.
            debug!(%error, "not ready");
            Err(Problem::new(Code::NotReady, "storage unavailable"))
        }
        Err(_) => Err(Problem::new(Code::NotReady, "storage unavailable")),
    }
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
