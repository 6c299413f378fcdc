//! Bodies of requests: how much is read, and what may be in them.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use roost_storage::UserId;
use serde::Deserialize;
use tokio::time::timeout;

use super::problem::{Code, Problem};

/// Quotes, comma, white space and a few escapes.
const MEMBER_OVERHEAD_BYTES: usize = 32;
const BODY_OVERHEAD_BYTES: usize = 1024;

/// The largest body that names members.
pub(super) fn members_bytes_max(members_max: usize) -> usize {
    members_max.saturating_mul(UserId::BYTES_MAX + MEMBER_OVERHEAD_BYTES).saturating_add(BODY_OVERHEAD_BYTES)
}

/// # Errors
/// [`Code::UnsupportedMediaType`] unless the headers announce plain JSON.
pub(super) fn check_is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return refused("send \"Content-Type: application/json\"");
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refused("send the body without a Content-Encoding");
    }
    Ok(())
}

/// Reads a whole body.
///
/// # Errors
/// [`Code::BodyTooLarge`], at once when its length was announced; [`Code::RequestTimeout`].
pub(super) async fn read<B>(body: B, bytes_max: usize, within: Duration) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let too_large = || Problem::new(Code::BodyTooLarge, format!("at most {bytes_max} bytes are taken"));
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match timeout(within, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::InvalidBody, "the body broke off")),
        Err(_) => Err(Problem::new(Code::RequestTimeout, format!("it must be here within {} s", within.as_secs()))),
    }
}

/// # Errors
/// [`Code::InvalidBody`] when there is anything in it: what is not understood is not ignored.
pub(super) async fn check_is_empty<B>(body: B, within: Duration) -> Result<(), Problem>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    match read(body, 0, within).await {
        Ok(_) => Ok(()),
        Err(problem) if problem.code == Code::BodyTooLarge => {
            Err(Problem::new(Code::InvalidBody, "this request takes no body"))
        }
        Err(problem) => Err(problem),
    }
}

/// The members that a body names; naming one twice is naming them once.
///
/// # Errors
/// [`Code::MalformedJson`] and [`Code::InvalidBody`], with the place; [`Code::TooManyMembers`].
pub(super) fn members(json: &[u8], members_max: usize) -> Result<BTreeSet<UserId>, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        members: BTreeSet<UserId>,
    }
    let body: Body = serde_json::from_slice(json).map_err(|error| not_taken(&error))?;
    if body.members.len() > members_max {
        let detail = format!("{} are named; at most {members_max} may be", body.members.len());
        return Err(Problem::new(Code::TooManyMembers, detail));
    }
    Ok(body.members)
}

fn not_taken(error: &serde_json::Error) -> Problem {
    let code = if error.is_data() { Code::InvalidBody } else { Code::MalformedJson };
    let position = (error.line() > 0).then(|| (error.line(), error.column()));
    Problem { position, ..Problem::new(code, error.to_string()) }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use hyper::header::HeaderValue;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn code(json: &str) -> Code {
        members(json.as_bytes(), 3).unwrap_err().code
    }

    fn named(json: &str) -> Vec<String> {
        members(json.as_bytes(), 3).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_are_read_and_duplicates_collapse() {
        assert_eq!(named(r#"{"members":["b","a","b","a","b","ü"]}"#), ["a", "b", "ü"]);
        assert_eq!(named(r#"{"members":[]}"#), [""; 0]);
        assert_eq!(code(r#"{"members":["a","b","c","d"]}"#), Code::TooManyMembers);
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_the_place() {
        let wrong = [
            r#"{"members":["a"],"owner":"a"}"#,
            r#"{"members":["a"],"members":["a"]}"#,
            r#"{"members":"a"}"#,
            r#"{"members":[1]}"#,
            r#"{"members":[""]}"#,
            r#"{"members":["a\u0000b"]}"#,
            r#"{"members":null}"#,
            "{}",
            "null",
        ];
        for json in wrong {
            assert_eq!(code(json), Code::InvalidBody, "{json}");
        }
        let long = format!(r#"{{"members":["{}"]}}"#, "x".repeat(129));
        assert_eq!(code(&long), Code::InvalidBody);
        let problem = members(b"{\"members\":[\n\"a\", 1]}", 3).unwrap_err();
        assert_eq!(problem.position, Some((2, 6)));
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        for json in [
            "",
            "{",
            r#"{"members":["a"]"#,
            r#"{"members":["a",]}"#,
            r#"{"members":[]} x"#,
            r#"{"members":["\ud800"]}"#,
        ] {
            assert_eq!(code(json), Code::MalformedJson, "{json}");
        }
        assert_eq!(members(b"{\"members\":[\"\xff\"]}", 3).unwrap_err().code, Code::MalformedJson);
        assert_eq!(members(b"{\"members\":[\n}", 3).unwrap_err().position, Some((2, 1)));
    }

    #[test]
    fn only_plain_json_is_taken() {
        let check = |content_type: Option<&'static str>, encoding: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            content_type.map(|value| headers.insert(CONTENT_TYPE, HeaderValue::from_static(value)));
            encoding.map(|value| headers.insert(CONTENT_ENCODING, HeaderValue::from_static(value)));
            check_is_json(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(check(Some("application/json"), None), Ok(()));
        assert_eq!(check(Some("Application/JSON ; charset=utf-8"), Some("identity")), Ok(()));
        for content_type in [None, Some("text/plain"), Some("application/jsonp"), Some("")] {
            assert_eq!(check(content_type, None), Err(Code::UnsupportedMediaType));
        }
        assert_eq!(check(Some("application/json"), Some("gzip")), Err(Code::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let body = || Full::new(Bytes::from_static(b"1234"));
        assert_eq!(read(body(), 4, WITHIN).await, Ok(Bytes::from_static(b"1234")));
        assert_eq!(read(body(), 3, WITHIN).await.unwrap_err().code, Code::BodyTooLarge);
        assert_eq!(check_is_empty(body(), WITHIN).await.unwrap_err().code, Code::InvalidBody);
        assert_eq!(check_is_empty(Full::<Bytes>::default(), WITHIN).await, Ok(()));
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_limited_in_bytes_and_time() {
        use futures_util::stream;
        use http_body_util::StreamBody;
        use hyper::body::Frame;

        let endless = || stream::repeat_with(|| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"12"))));
        assert_eq!(read(StreamBody::new(endless()), 100, WITHIN).await.unwrap_err().code, Code::BodyTooLarge);
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, std::io::Error>>());
        assert_eq!(read(silent, 100, Duration::from_millis(10)).await.unwrap_err().code, Code::RequestTimeout);
        let broken = StreamBody::new(stream::iter([Err(std::io::Error::other("gone"))]));
        assert_eq!(read::<StreamBody<_>>(broken, 100, WITHIN).await.unwrap_err().code, Code::InvalidBody);
    }
}
