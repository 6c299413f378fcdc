//! What an HTTP request must bring to become a connection, and the answer when it does not. No socket in here.
//!
//! The order of the checks is what clients see when two things are wrong at once, and is Phoenix's: method, query,
//! origin, subprotocol, `vsn`, token, device; the upgrade headers come last.

mod origin;
mod query;
mod subprotocol;
#[cfg(test)]
mod tests;
mod upgrade;

use std::time::SystemTime;

use hyper::Method;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use roost_storage::DeviceId;

use crate::auth::{Authenticator, Verified};
use crate::config::{GatewayConfig, is_language_tag};
use crate::phoenix::Serializer;
pub use origin::{InvalidPattern, OriginPattern};
use query::{Query, Value};

/// A request that may become a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Whom the token lets in.
    pub verified: Verified,
    /// `device_unique_id`.
    pub device: DeviceId,
    /// `preferred_language`, or the configured one.
    pub language: String,
    /// What `vsn` asked for.
    pub serializer: Serializer,
    /// Value of the answer's `Sec-WebSocket-Accept`.
    pub accept: String,
    /// Value of the answer's `Sec-WebSocket-Protocol`; none, no such header.
    pub protocol: Option<&'static str>,
}

/// Why a request does not become a connection, as a metric counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// The gateway holds as many connections as it may.
    Limit,
    /// The token, or the device it is for.
    Auth,
    /// The page that asks is not on the list.
    Origin,
    /// `vsn` or the subprotocol is none that we speak.
    Version,
    /// The gateway is shutting down.
    Draining,
    /// Not a WebSocket request, or not a readable one.
    Malformed,
}

impl RefusalReason {
    /// Every reason, for metrics.
    pub const ALL: [Self; 6] = [Self::Limit, Self::Auth, Self::Origin, Self::Version, Self::Draining, Self::Malformed];

    /// The reason as a metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Auth => "auth",
            Self::Origin => "origin",
            Self::Version => "version",
            Self::Draining => "draining",
            Self::Malformed => "malformed",
        }
    }
}

/// The answer to a request that does not become a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Body: for people.
    pub body: String,
    /// For the metric.
    pub reason: RefusalReason,
}

impl Refused {
    /// The gateway is full.
    pub fn limit() -> Self {
        Self::json(503, RefusalReason::Limit, "too many connections")
    }

    /// The gateway is shutting down.
    pub fn draining() -> Self {
        Self::json(503, RefusalReason::Draining, "shutting down")
    }

    /// Content type of the body.
    pub fn content_type(&self) -> &'static str {
        if self.body.starts_with('{') { "application/json; charset=utf-8" } else { "text/plain; charset=utf-8" }
    }

    fn forbidden(reason: RefusalReason, text: &'static str) -> Self {
        Self::json(403, reason, text)
    }

    /// `text` is a constant of ours and needs no escapes.
    fn json(status: u16, reason: RefusalReason, text: &'static str) -> Self {
        Self { status, body: format!(r#"{{"reason":"{text}"}}"#), reason }
    }

    fn malformed(body: impl Into<String>) -> Self {
        Self { status: 400, body: body.into(), reason: RefusalReason::Malformed }
    }
}

/// Whether a path is the WebSocket endpoint: `/socket/websocket`, or `/socket` for plain clients. Empty segments do not
/// count: clients whose base ends in a slash ask for `/socket//websocket`.
pub fn is_socket_path(path: &str) -> bool {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    path.starts_with('/')
        && segments.next() == Some("socket")
        && matches!(segments.next(), None | Some("websocket"))
        && segments.next().is_none()
}

/// What handshakes are checked against, beside the keys.
#[derive(Debug, Clone)]
pub struct Policy {
    origins: Vec<OriginPattern>,
    preferred_language: String,
}

impl Policy {
    /// The policy that the configuration asks for.
    ///
    /// # Errors
    /// When a pattern of `gateway.origins` is none; [`GatewayConfig::faults`] names it.
    pub fn new(config: &GatewayConfig) -> Result<Self, InvalidPattern> {
        let origins = config.origins.iter().map(|pattern| pattern.parse()).collect::<Result<_, _>>()?;
        Ok(Self { origins, preferred_language: config.preferred_language.clone() })
    }

    /// Checks a request to the WebSocket endpoint.
    ///
    /// The token is the query's `token`, else the one in the subprotocol, else the `Authorization` header's. An empty
    /// one counts as not given.
    ///
    /// # Errors
    /// The answer to send instead of 101.
    pub fn check(&self, request: &Parts, keys: &Authenticator, now: SystemTime) -> Result<Handshake, Refused> {
        if request.method != Method::GET {
            return Err(Refused::malformed(""));
        }
        let query = Query::parse(request.uri.query().unwrap_or_default())
            .map_err(|_| Refused::malformed("the query is not UTF-8"))?;
        if !origin::is_allowed(&self.origins, &request.headers) {
            return Err(Refused::forbidden(RefusalReason::Origin, "origin not allowed"));
        }
        let offer = subprotocol::read(&request.headers)
            .map_err(|_| Refused::forbidden(RefusalReason::Auth, "token invalid"))?;
        let protocol =
            offer.answer().map_err(|_| Refused::forbidden(RefusalReason::Version, "subprotocol not supported"))?;
        let serializer = serializer(&query)
            .ok_or_else(|| Refused::forbidden(RefusalReason::Version, "protocol version not supported"))?;

        let bearer = bearer(request);
        let token = query
            .text("token")
            .into_iter()
            .chain(offer.token.as_deref())
            .chain(bearer)
            .find(|token| !token.is_empty())
            .ok_or_else(|| Refused::forbidden(RefusalReason::Auth, "token missing"))?;
        let verified =
            keys.verify(token, now).map_err(|refusal| Refused::forbidden(RefusalReason::Auth, refusal.reason()))?;
        let device = device(&query, &verified)?;
        let language = query.text("preferred_language").filter(|language| is_language_tag(language));
        let language = language.unwrap_or(&self.preferred_language).to_owned();

        let accept = upgrade::accept(request).map_err(Refused::malformed)?;
        Ok(Handshake { verified, device, language, serializer, accept, protocol })
    }
}

fn serializer(query: &Query) -> Option<Serializer> {
    match query.get("vsn") {
        None => Serializer::negotiate(None),
        Some(Value::Text(vsn)) => Serializer::negotiate(Some(vsn)),
        Some(Value::Nested) => None,
    }
}

/// The token of `Authorization: Bearer`.
fn bearer(request: &Parts) -> Option<&str> {
    let value = request.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn device(query: &Query, verified: &Verified) -> Result<DeviceId, Refused> {
    let forbidden = |text| Refused::forbidden(RefusalReason::Auth, text);
    let device = query
        .text("device_unique_id")
        .filter(|device| !device.is_empty())
        .ok_or_else(|| forbidden("device_unique_id missing"))?;
    let device = DeviceId::new(device).map_err(|_| forbidden("device_unique_id invalid"))?;
    match &verified.device {
        Some(only) if *only != device => Err(forbidden("token is for another device")),
        _ => Ok(device),
    }
}
