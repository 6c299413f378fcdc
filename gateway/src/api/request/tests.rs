//! Requests as they come, and what they are understood as.

use super::*;

fn parsed(method: &str, target: &str) -> (Route, Result<Call, Problem>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    parse(&method.parse().unwrap(), path, query)
}

fn understood(method: &str, target: &str) -> Call {
    parsed(method, target).1.unwrap_or_else(|problem| panic!("{method} {target}: {problem:?}"))
}

fn refused(method: &str, target: &str) -> Problem {
    parsed(method, target).1.expect_err(target)
}

fn chat(text: &str) -> ChatId {
    ChatId::new(text).unwrap()
}

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

#[test]
fn every_route_is_understood() {
    let c = || chat("c");
    let cases = [
        ("GET /livez", Route::Livez, Call::Livez),
        ("GET /readyz", Route::Readyz, Call::Readyz),
        ("GET /metrics?name=any", Route::Metrics, Call::Metrics),
        ("GET /version", Route::Version, Call::Version),
        ("PUT /v1/chats/c", Route::SetMembers, Call::SetMembers { chat: c(), members: BTreeSet::new() }),
        ("PUT /v1/chats/c/members/u", Route::AddMember, Call::AddMember { chat: c(), user: user("u") }),
        ("DELETE /v1/chats/c/members/u", Route::RemoveMember, Call::RemoveMember { chat: c(), user: user("u") }),
        ("GET /v1/chats/c/members", Route::Members, Call::Members { chat: c(), after: None, limit: 100 }),
        ("DELETE /v1/users/u/connections", Route::Disconnect, Call::Disconnect { user: user("u"), device: None }),
        (
            "DELETE /v1/users/u/connections?device=d",
            Route::Disconnect,
            Call::Disconnect { user: user("u"), device: Some(DeviceId::new("d").unwrap()) },
        ),
    ];
    for (request, route, call) in cases {
        let (method, target) = request.split_once(' ').unwrap();
        assert_eq!(parsed(method, target), (route, Ok(call)), "{request}");
    }
}

#[test]
fn head_is_understood_as_get() {
    for target in ["/livez", "/readyz", "/metrics", "/version", "/v1/chats/c/members", "/v1/chats/c/messages"] {
        assert_eq!(parsed("HEAD", target), parsed("GET", target));
        assert!(parsed("HEAD", target).1.is_ok());
    }
}

#[test]
fn messages_are_read_in_both_directions() {
    let messages = |query: &str| match understood("GET", &format!("/v1/chats/c/messages{query}")) {
        Call::Messages { from, direction, limit, .. } => (from.map(|sequence| sequence.0), direction, limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(messages(""), (None, Direction::Forward, 100));
    assert_eq!(messages("?after=5&limit=1"), (Some(5), Direction::Forward, 1));
    assert_eq!(messages("?limit=1000&before=9007199254740991"), (Some((1 << 53) - 1), Direction::Backward, 1000));
}

#[test]
fn ids_are_percent_decoded_once_and_must_be_valid() {
    let added = |target: &str| understood("PUT", target);
    let expected = Call::AddMember { chat: chat("a/b"), user: user("ü %41+") };
    assert_eq!(added("/v1/chats/a%2Fb/members/%C3%bc%20%2541+"), expected);
    for target in ["/v1/chats/%/members/u", "/v1/chats/%4/members/u", "/v1/chats/%ff/members/u"] {
        assert_eq!(refused("PUT", target).code, Code::InvalidId, "{target}");
    }
    for target in ["/v1/chats/c/members/", "/v1/chats//members/u", "/v1/chats/a%00/members/u"] {
        assert_eq!(refused("PUT", target).code, Code::InvalidId, "{target}");
    }
    let long = format!("/v1/users/{}/connections", "x".repeat(129));
    let problem = refused("DELETE", &long);
    assert_eq!(problem.code, Code::InvalidId);
    assert!(problem.detail.contains("1 to 128 bytes"), "{}", problem.detail);
}

#[test]
fn a_query_that_is_not_understood_is_refused() {
    let targets = [
        "/v1/chats/c/members?limit=0",
        "/v1/chats/c/members?limit=1001",
        "/v1/chats/c/members?limit=",
        "/v1/chats/c/members?limit",
        "/v1/chats/c/members?limit=%2B5",
        "/v1/chats/c/members?limit=-1",
        "/v1/chats/c/members?limit=99999999999999999999999",
        "/v1/chats/c/members?limit=5&limit=5",
        "/v1/chats/c/members?after=",
        "/v1/chats/c/members?after=%ff",
        "/v1/chats/c/members?before=u",
        "/v1/chats/c/members?Limit=5",
        "/v1/chats/c/messages?after=u",
        "/v1/chats/c/messages?after=9007199254740992",
        "/v1/chats/c/messages?after=1&before=2",
        "/v1/chats/c/messages?order=newest",
    ];
    for target in targets {
        let (route, call) = parsed("GET", target);
        assert_eq!(call.unwrap_err().code, Code::InvalidQuery, "{target}");
        assert_ne!(route, Route::Unmatched);
    }
    assert_eq!(refused("PUT", "/v1/chats/c?dry_run=1").code, Code::InvalidQuery);
    assert!(parsed("GET", "/v1/chats/c/members?&after=a+b&").1.is_ok());
}

#[test]
fn what_is_not_there_is_not_found() {
    let targets =
        ["/", "", "*", "/v1", "/v1/", "/v1/chats", "/v2/chats/c", "/V1/chats/c", "/livez/", "/v1/chats/c/members/u/x"];
    for target in targets {
        assert_eq!(refused("GET", target).code, Code::NotFound, "{target}");
        assert_eq!(parsed("GET", target).0, Route::Unmatched);
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let allowed = |method: &str, target: &str| {
        let problem = refused(method, target);
        assert_eq!(problem.code, Code::MethodNotAllowed);
        problem.allow.unwrap()
    };
    assert_eq!(allowed("POST", "/livez"), "GET, HEAD");
    assert_eq!(allowed("GET", "/v1/chats/c"), "PUT");
    assert_eq!(allowed("HEAD", "/v1/chats/c"), "PUT");
    assert_eq!(allowed("OPTIONS", "/v1/chats/c/members/u"), "PUT, DELETE");
    assert_eq!(allowed("PUT", "/v1/users/u/connections"), "DELETE");
}

#[test]
fn only_the_api_proper_needs_the_key() {
    for path in ["/v1", "/v1/", "/v1/chats/c", "/v1/nothing"] {
        assert!(needs_key(path), "{path}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/version", "/v11", "/"] {
        assert!(!needs_key(path), "{path}");
    }
}
