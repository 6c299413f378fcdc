//! The headers that make a request a WebSocket one (RFC 6455 4.2.1), and the answer's `Sec-WebSocket-Accept`.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONNECTION, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Version};

/// RFC 6455 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept`, or what is wrong, for the person who wrote the client.
pub(super) fn accept(request: &Parts) -> Result<String, String> {
    let headers = &request.headers;
    if request.version != Version::HTTP_11 {
        return Err(format!("a WebSocket needs HTTP/1.1, got {:?}", request.version));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(format!("'connection' header must contain 'upgrade', got {:?}", values(headers, &CONNECTION)));
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(format!("'upgrade' header must contain 'websocket', got {:?}", values(headers, &UPGRADE)));
    }
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty()) else {
        return Err("'sec-websocket-key' header is absent".into());
    };
    let version = values(headers, &SEC_WEBSOCKET_VERSION);
    if version != ["13"] {
        return Err(format!("'sec-websocket-version' header must equal '13', got {version:?}"));
    }
    // What the protocol prescribes; nothing rests on its strength.
    let mut digest = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key.as_bytes());
    digest.update(ACCEPT_SUFFIX);
    Ok(STANDARD.encode(digest.finish()))
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    values(headers, name).iter().flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}
