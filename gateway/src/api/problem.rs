//! What went wrong with a request, as RFC 9457 writes it down.

use std::error::Error;

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use roost_storage::{InvalidId, StorageError};
use serde::Serialize;
use tracing::{error, warn};

use super::answer::{self, Answer};

/// The kinds of problem. Their texts are part of the API: scripts compare them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    InvalidId,
    InvalidQuery,
    InvalidBody,
    MalformedJson,
    TooManyMembers,
    Unauthorized,
    NotFound,
    ChatNotFound,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    Internal,
    NotReady,
    Overloaded,
    Unavailable,
}

impl Code {
    /// Its text, its status, and a title that is the same for every such problem.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidId => ("invalid_id", StatusCode::BAD_REQUEST, "an id in the path is not valid"),
            Self::InvalidQuery => ("invalid_query", StatusCode::BAD_REQUEST, "the query is not valid"),
            Self::InvalidBody => ("invalid_body", StatusCode::BAD_REQUEST, "the body is not what this takes"),
            Self::MalformedJson => ("malformed_json", StatusCode::BAD_REQUEST, "the body is not JSON"),
            Self::TooManyMembers => ("too_many_members", StatusCode::BAD_REQUEST, "too many members in one request"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "the API's key is needed"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "there is nothing at this path"),
            Self::ChatNotFound => ("chat_not_found", StatusCode::NOT_FOUND, "there is no such chat"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "the path has no such method")
            }
            Self::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Self::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be plain application/json",
            ),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "a fault of ours"),
            Self::NotReady => ("not_ready", StatusCode::SERVICE_UNAVAILABLE, "this node is not ready"),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "more than can be taken right now"),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "the storage is not available"),
        }
    }
}

/// One problem of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) detail: String,
    /// Line and column in the body, from 1.
    pub(super) position: Option<(usize, usize)>,
    /// The methods there are, for [`Code::MethodNotAllowed`].
    pub(super) allow: Option<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// Why a node is not ready: for people who know that word from other probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), position: None, allow: None }
    }

    /// An id that is not one.
    pub(super) fn invalid_id(error: &InvalidId) -> Self {
        Self::new(Code::InvalidId, error.to_string())
    }

    /// A storage call that failed: logged here, since the request is where it is handled.
    pub(super) fn storage(error: &StorageError) -> Self {
        let cause = error as &(dyn Error + 'static);
        match error {
            StorageError::Corrupt { .. } => {
                error!(error = cause, "a call of the API met a corrupt record");
                Self::new(Code::Internal, "a stored record can not be read; the node's log names it")
            }
            StorageError::Unavailable(_) | StorageError::Failed(_) => {
                warn!(error = cause, "a call of the API failed");
                let detail = "a change may or may not have been accepted; repeating it is safe";
                Self::new(Code::Unavailable, detail)
            }
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let (code, status, title) = self.code.parts();
        let document = Document {
            r#type: format!("urn:roost:problem:{code}"),
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
            line: self.position.map(|(line, _)| line),
            column: self.position.map(|(_, column)| column),
            reason: (self.code == Code::NotReady).then_some(self.detail.as_str()),
        };
        let text = serde_json::to_vec(&document).expect("our own documents encode");
        let mut answer = answer::body(status, HeaderValue::from_static("application/problem+json"), text);
        let headers = answer.headers_mut();
        match self.code {
            Code::Unauthorized => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Code::Overloaded | Code::Unavailable | Code::NotReady => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::try_from(allow).expect("names of methods are a header's text"));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_in_the_documentation_with_its_status() {
        let documentation = include_str!("../../../docs/api.md");
        let codes = [
            Code::InvalidId,
            Code::InvalidQuery,
            Code::InvalidBody,
            Code::MalformedJson,
            Code::TooManyMembers,
            Code::Unauthorized,
            Code::NotFound,
            Code::ChatNotFound,
            Code::MethodNotAllowed,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
            Code::Internal,
            Code::NotReady,
            Code::Overloaded,
            Code::Unavailable,
        ];
        for code in codes {
            let (text, status, _) = code.parts();
            let row = format!("| {} | `{text}` |", status.as_u16());
            assert!(documentation.contains(&row), "{row}");
        }
    }

    #[test]
    fn headers_say_what_a_client_can_do() {
        let header = |problem: Problem, name: &str| problem.into_answer().headers()[name].to_str().unwrap().to_string();
        assert_eq!(header(Problem::new(Code::Unauthorized, ""), "www-authenticate"), "Bearer");
        assert_eq!(header(Problem::new(Code::Overloaded, ""), "retry-after"), "1");
        assert_eq!(header(Problem::storage(&StorageError::Failed("full".into())), "retry-after"), "1");
        let allow = Problem { allow: Some("PUT".into()), ..Problem::new(Code::MethodNotAllowed, "") };
        assert_eq!(header(allow, "allow"), "PUT");
    }

    #[test]
    fn a_storage_fault_shows_no_cause_to_the_caller() {
        let corrupt = Problem::storage(&StorageError::Corrupt { what: "chat c".into() });
        assert_eq!((corrupt.code, corrupt.detail.contains("chat c")), (Code::Internal, false));
    }
}
