//! Answers that are no problems.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// What every request gets.
pub(super) type Answer = Response<Full<Bytes>>;

/// A document of ours. Its values are strings, numbers and lists of them, which always encode.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(document).expect("our own documents encode");
    body(status, HeaderValue::from_static("application/json"), text)
}

/// Any text.
pub(super) fn body(status: StatusCode, content_type: HeaderValue, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
