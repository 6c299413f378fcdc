//! Requests of every kind, and what is said first when several things are wrong.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::Request;
use hyper::header::HeaderName;
use serde_json::json;

use super::*;
use crate::auth::tests::{NOW, at, hs256_token, with_secret};
use crate::config::AuthConfig;

/// A request's method, target and headers; starts as one that is accepted.
struct Attempt {
    method: &'static str,
    query: String,
    headers: Vec<(&'static str, String)>,
    origins: Vec<String>,
    version: hyper::Version,
}

fn token_of(user: &str) -> String {
    hs256_token(&json!({"sub": user, "exp": NOW + 60}))
}

fn attempt() -> Attempt {
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        // The example of RFC 6455 1.3.
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    Attempt {
        method: "GET",
        query: format!("token={}&device_unique_id=phone&vsn=2.0.0", token_of("ann")),
        headers: headers.map(|(name, value)| (name, value.to_owned())).into(),
        origins: Vec::new(),
        version: hyper::Version::HTTP_11,
    }
}

impl Attempt {
    fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn replaced(self, name: &'static str, value: impl Into<String>) -> Self {
        self.without(name).with(name, value)
    }

    fn origins(mut self, origins: &[&str]) -> Self {
        self.origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        self
    }

    fn check(&self) -> Result<Handshake, Refused> {
        let mut request = Request::builder()
            .method(self.method)
            .version(self.version)
            .uri(format!("/socket/websocket?{}", self.query));
        for (name, value) in &self.headers {
            request = request.header(HeaderName::from_static(name), value.as_bytes());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let config = GatewayConfig { origins: self.origins.clone(), ..GatewayConfig::default() };
        Policy::new(&config).unwrap().check(&parts, &with_secret(AuthConfig::default()), at(NOW))
    }

    #[track_caller]
    fn is_refused(&self, status: u16, reason: RefusalReason, body: &str) {
        let refused = self.check().unwrap_err();
        assert_eq!((refused.status, refused.reason, refused.body.as_str()), (status, reason, body));
    }

    #[track_caller]
    fn is_forbidden(&self, reason: RefusalReason, text: &str) {
        self.is_refused(403, reason, &format!(r#"{{"reason":"{text}"}}"#));
    }

    #[track_caller]
    fn user(&self) -> String {
        self.check().unwrap().verified.user.to_string()
    }
}

#[test]
fn paths_of_the_socket() {
    for path in ["/socket/websocket", "/socket//websocket", "/socket/websocket/", "/socket", "/socket/"] {
        assert!(is_socket_path(path), "{path}");
    }
    for path in ["", "/", "socket", "/sockets", "/socket/longpoll", "/socket/websocket/x", "/v1/socket", "/Socket", "*"]
    {
        assert!(!is_socket_path(path), "{path}");
    }
}

#[test]
fn a_good_request_is_accepted() {
    let handshake = attempt().check().unwrap();
    assert_eq!(handshake.verified.user.as_str(), "ann");
    assert_eq!(handshake.device.as_str(), "phone");
    assert_eq!(handshake.language, "EN");
    assert_eq!(handshake.serializer, Serializer::V2);
    assert_eq!(handshake.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(handshake.protocol, None);
}

#[test]
fn the_first_fault_in_the_order_of_checks_is_told() {
    let everything = Attempt {
        method: "POST",
        query: "token=%ff".into(),
        headers: vec![
            ("origin", "http://evil".into()),
            ("sec-websocket-protocol", "base64url.bearer.phx.!!, graphql".into()),
        ],
        origins: vec!["//example.com".into()],
        version: hyper::Version::HTTP_11,
    };
    everything.is_refused(400, RefusalReason::Malformed, "");
    let fixed = Attempt { method: "GET", ..everything };
    fixed.is_refused(400, RefusalReason::Malformed, "the query is not UTF-8");
    let fixed = fixed.query("vsn=9.0.0&token=a.b.c");
    fixed.is_forbidden(RefusalReason::Origin, "origin not allowed");
    let fixed = fixed.replaced("origin", "http://example.com");
    fixed.is_forbidden(RefusalReason::Auth, "token invalid");
    let fixed = fixed.replaced("sec-websocket-protocol", "graphql");
    fixed.is_forbidden(RefusalReason::Version, "subprotocol not supported");
    let fixed = fixed.replaced("sec-websocket-protocol", "graphql, phoenix");
    fixed.is_forbidden(RefusalReason::Version, "protocol version not supported");
    let fixed = fixed.query("vsn=2.0.0&token=a.b.c");
    fixed.is_forbidden(RefusalReason::Auth, "token invalid");
    let fixed = fixed.query(format!("vsn=2.0.0&token={}", token_of("ann")));
    fixed.is_forbidden(RefusalReason::Auth, "device_unique_id missing");
    let fixed = fixed.query(format!("vsn=2.0.0&token={}&device_unique_id=phone", token_of("ann")));
    fixed.is_refused(400, RefusalReason::Malformed, "'connection' header must contain 'upgrade', got []");
    let fixed = fixed.with("connection", "keep-alive");
    fixed.is_refused(
        400,
        RefusalReason::Malformed,
        r#"'connection' header must contain 'upgrade', got ["keep-alive"]"#,
    );
    let fixed = fixed.replaced("connection", "keep-alive, UPGRADE");
    fixed.is_refused(400, RefusalReason::Malformed, "'upgrade' header must contain 'websocket', got []");
    let fixed = fixed.with("upgrade", "WebSocket");
    fixed.is_refused(400, RefusalReason::Malformed, "'sec-websocket-key' header is absent");
    let fixed = fixed.with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").with("sec-websocket-version", "8");
    fixed.is_refused(400, RefusalReason::Malformed, r#"'sec-websocket-version' header must equal '13', got ["8"]"#);
    let fixed = fixed.replaced("sec-websocket-version", "13");
    assert_eq!(fixed.check().unwrap().protocol, Some("phoenix"));
    let old = Attempt { version: hyper::Version::HTTP_10, ..fixed };
    old.is_refused(400, RefusalReason::Malformed, "a WebSocket needs HTTP/1.1, got HTTP/1.0");
}

#[test]
fn vsn_decides_the_serializer() {
    let with = |vsn: &str| attempt().query(format!("token={}&device_unique_id=phone{vsn}", token_of("ann")));
    for (vsn, serializer) in [
        ("", Serializer::V1),
        ("&vsn=1.0.0", Serializer::V1),
        ("&vsn=2.0.0", Serializer::V2),
        ("&vsn=2.0.0&", Serializer::V2),
        ("&vsn=1.0.0&vsn=2.0.0", Serializer::V2),
    ] {
        assert_eq!(with(vsn).check().unwrap().serializer, serializer, "{vsn}");
    }
    for vsn in ["&vsn=", "&vsn=2", "&vsn=3.0.0", "&vsn[a]=1", "&vsn=2.0.0&vsn[a]=1", "&vsn=2.0.0-rc.1"] {
        with(vsn).is_forbidden(RefusalReason::Version, "protocol version not supported");
    }
}

#[test]
fn the_token_is_taken_from_the_query_then_the_subprotocol_then_the_header() {
    let encoded = |user: &str| format!("phoenix, base64url.bearer.phx.{}", STANDARD_NO_PAD.encode(token_of(user)));
    let all = attempt()
        .query(format!("token={}&device_unique_id=phone", token_of("query")))
        .with("sec-websocket-protocol", encoded("subprotocol"))
        .with("authorization", format!("Bearer {}", token_of("header")));
    assert_eq!(all.user(), "query");
    let two = all.query("token=&device_unique_id=phone");
    assert_eq!(two.user(), "subprotocol");
    let one = two.without("sec-websocket-protocol");
    assert_eq!(one.user(), "header");
    for scheme in ["bearer ", "BEARER  "] {
        assert_eq!(one_with_authorization(&format!("{scheme}{}", token_of("header"))).user(), "header");
    }
    for value in [String::new(), "Bearer".into(), "Bearer ".into(), token_of("a"), format!("Basic {}", token_of("a"))] {
        one_with_authorization(&value).is_forbidden(RefusalReason::Auth, "token missing");
    }
    // The one that wins is the only one looked at.
    let bad = attempt()
        .query("token=garbage&device_unique_id=phone")
        .with("authorization", format!("Bearer {}", token_of("header")));
    bad.is_forbidden(RefusalReason::Auth, "token invalid");
    // The last of several in the query.
    let twice = format!("token=garbage&token={}&device_unique_id=phone", token_of("ann"));
    assert_eq!(attempt().query(twice).user(), "ann");
    attempt().query("token[]=x&device_unique_id=phone").is_forbidden(RefusalReason::Auth, "token missing");
}

fn one_with_authorization(value: &str) -> Attempt {
    attempt().query("device_unique_id=phone").with("authorization", value)
}

#[test]
fn the_subprotocol_carries_a_token_in_either_alphabet_and_is_never_echoed() {
    let with = |protocol: String| attempt().query("device_unique_id=phone").with("sec-websocket-protocol", protocol);
    let token = token_of("ann");
    for encoded in [STANDARD_NO_PAD.encode(&token), STANDARD.encode(&token), URL_SAFE_NO_PAD.encode(&token)] {
        let only = with(format!("base64url.bearer.phx.{encoded}"));
        assert_eq!(only.check().unwrap().protocol, None);
        let both = with(format!("phoenix,base64url.bearer.phx.{encoded}"));
        assert_eq!(both.check().unwrap().protocol, Some("phoenix"));
        // Also when each has a header line of its own.
        let apart = with("phoenix".into()).with("sec-websocket-protocol", format!("base64url.bearer.phx.{encoded}"));
        assert_eq!(apart.check().unwrap().protocol, Some("phoenix"));
        // Two tokens are none.
        let two = with(format!("phoenix, base64url.bearer.phx.{encoded}, base64url.bearer.phx.{encoded}"));
        two.is_forbidden(RefusalReason::Auth, "token missing");
    }
    // Texts whose encodings differ in the two alphabets; neither is a token, but both are read.
    for (encoded, text) in [("Pz8/", "???"), ("Pz8_", "???"), ("fn5+", "~~~"), ("fn5-", "~~~")] {
        let mut headers = hyper::HeaderMap::new();
        headers.insert("sec-websocket-protocol", format!("base64url.bearer.phx.{encoded}").parse().unwrap());
        assert_eq!(subprotocol::read(&headers).unwrap().token.as_deref(), Some(text));
    }
    for garbage in ["!!", "A", "_w", "Pz8/Pz8_"] {
        with(format!("phoenix, base64url.bearer.phx.{garbage}")).is_forbidden(RefusalReason::Auth, "token invalid");
    }
    // Garbage is refused even beside a good token elsewhere.
    attempt()
        .with("sec-websocket-protocol", "phoenix, base64url.bearer.phx.!!")
        .is_forbidden(RefusalReason::Auth, "token invalid");
    attempt()
        .with("sec-websocket-protocol", "graphql")
        .is_forbidden(RefusalReason::Version, "subprotocol not supported");
    assert_eq!(attempt().with("sec-websocket-protocol", "").check().unwrap().protocol, None);
}

#[test]
fn a_refused_token_is_told_in_few_words() {
    let query = |token: String| attempt().query(format!("token={token}&device_unique_id=phone"));
    let expired = hs256_token(&json!({"sub": "ann", "exp": NOW}));
    query(expired).is_forbidden(RefusalReason::Auth, "token expired");
    let early = hs256_token(&json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW + 1}));
    query(early).is_forbidden(RefusalReason::Auth, "token not yet valid");
    query(hs256_token(&json!({"exp": NOW + 60}))).is_forbidden(RefusalReason::Auth, "token names no user");
    query(hs256_token(&json!({"sub": "ann"}))).is_forbidden(RefusalReason::Auth, "token has no expiry");
    query("x".repeat(9000)).is_forbidden(RefusalReason::Auth, "token invalid");
    attempt().query("device_unique_id=phone").is_forbidden(RefusalReason::Auth, "token missing");
    attempt().query("").is_forbidden(RefusalReason::Auth, "token missing");
}

#[test]
fn the_device_is_required_and_must_be_the_tokens_own() {
    let query = |rest: &str| attempt().query(format!("token={}{rest}", token_of("ann")));
    for rest in ["", "&device_unique_id=", "&device_unique_id[]=phone"] {
        query(rest).is_forbidden(RefusalReason::Auth, "device_unique_id missing");
    }
    let longest = "x".repeat(256);
    assert_eq!(query(&format!("&device_unique_id={longest}")).check().unwrap().device.as_str(), longest);
    for rest in [format!("&device_unique_id={longest}x"), "&device_unique_id=a%00b".into()] {
        query(&rest).is_forbidden(RefusalReason::Auth, "device_unique_id invalid");
    }
    let bound = hs256_token(&json!({"sub": "ann", "exp": NOW + 60, "roost_device": "phone"}));
    assert!(attempt().query(format!("token={bound}&device_unique_id=phone")).check().is_ok());
    attempt()
        .query(format!("token={bound}&device_unique_id=laptop"))
        .is_forbidden(RefusalReason::Auth, "token is for another device");
}

#[test]
fn the_language_is_the_clients_or_the_configured_one() {
    let query = |rest: &str| attempt().query(format!("token={}&device_unique_id=phone{rest}", token_of("ann")));
    for (rest, language) in [
        ("", "EN"),
        ("&preferred_language=", "EN"),
        ("&preferred_language=pt-BR", "pt-BR"),
        ("&preferred_language=%3Cscript%3E", "EN"),
        ("&preferred_language=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "EN"),
    ] {
        assert_eq!(query(rest).check().unwrap().language, language, "{rest}");
    }
}

#[test]
fn origins_are_checked_when_there_is_a_list() {
    let from = |origin: &str| attempt().with("origin", origin);
    assert!(from("http://evil").check().is_ok());
    assert!(attempt().origins(&["//example.com"]).check().is_ok());
    assert!(from("https://a.example.com").origins(&["https://*.example.com"]).check().is_ok());
    from("null").origins(&["//example.com"]).is_forbidden(RefusalReason::Origin, "origin not allowed");
}

#[test]
fn a_refusal_knows_its_content_type_and_every_reason_its_label() {
    assert_eq!(Refused::limit().content_type(), "application/json; charset=utf-8");
    assert_eq!(Refused::draining().status, 503);
    assert_eq!(Attempt { method: "PUT", ..attempt() }.check().unwrap_err().content_type(), "text/plain; charset=utf-8");
    let labels = RefusalReason::ALL.map(RefusalReason::label);
    assert_eq!(labels, ["limit", "auth", "origin", "version", "draining", "malformed"]);
}

#[test]
fn nothing_prints_the_token() {
    let token = token_of("ann");
    let signature = token.rsplit_once('.').unwrap().1;
    let accepted = attempt().check();
    let refused = attempt().query(format!("token={token}x&device_unique_id=phone")).check();
    let not_upgraded = attempt().replaced("connection", "close").check();
    for result in [accepted, refused, not_upgraded] {
        let printed = format!("{result:?}");
        assert!(!printed.contains(signature), "{printed}");
    }
}
