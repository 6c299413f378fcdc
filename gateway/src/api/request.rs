//! What a request asks for: from method, path and query to a [`Call`]. No socket in here.

mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use hyper::Method;
use roost_storage::{ChatId, DeviceId, Direction, InvalidId, Sequence, UserId};

use super::problem::{Code, Problem};
use query::Query;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Sequences are exact as doubles, so that JSON can carry them.
const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// A request that is understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Livez,
    Readyz,
    Metrics,
    Version,
    /// `members` come with the body, which is not read yet.
    SetMembers {
        chat: ChatId,
        members: BTreeSet<UserId>,
    },
    AddMember {
        chat: ChatId,
        user: UserId,
    },
    RemoveMember {
        chat: ChatId,
        user: UserId,
    },
    Members {
        chat: ChatId,
        after: Option<UserId>,
        limit: usize,
    },
    Messages {
        chat: ChatId,
        from: Option<Sequence>,
        direction: Direction,
        limit: usize,
    },
    Disconnect {
        user: UserId,
        device: Option<DeviceId>,
    },
}

/// Method and path without what varies: what requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Livez,
    Readyz,
    Metrics,
    Version,
    SetMembers,
    AddMember,
    RemoveMember,
    Members,
    Messages,
    Disconnect,
    /// No such path, or no such method on it.
    Unmatched,
}

impl Route {
    pub(super) const ALL: [Route; 11] = [
        Self::Livez,
        Self::Readyz,
        Self::Metrics,
        Self::Version,
        Self::SetMembers,
        Self::AddMember,
        Self::RemoveMember,
        Self::Members,
        Self::Messages,
        Self::Disconnect,
        Self::Unmatched,
    ];

    /// Those of a process without an API.
    pub(super) const HEALTH: [Route; 5] = [Self::Livez, Self::Readyz, Self::Metrics, Self::Version, Self::Unmatched];

    /// Its value in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::Metrics => "metrics",
            Self::Version => "version",
            Self::SetMembers => "set_members",
            Self::AddMember => "add_member",
            Self::RemoveMember => "remove_member",
            Self::Members => "members",
            Self::Messages => "messages",
            Self::Disconnect => "disconnect",
            Self::Unmatched => "unmatched",
        }
    }
}

/// Whether a path is behind the key.
pub(super) fn needs_key(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// Reads a request's first line. The route is known even when the request is refused.
pub(super) fn parse(method: &Method, path: &str, query: &str) -> (Route, Result<Call, Problem>) {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let routes = routes(&segments);
    if routes.is_empty() {
        let detail = "the API's paths are in docs/api.md";
        return (Route::Unmatched, Err(Problem::new(Code::NotFound, detail)));
    }
    let wanted = if *method == Method::HEAD { &Method::GET } else { method };
    match routes.iter().find(|(method, _)| method == wanted) {
        Some((_, route)) => (*route, call(*route, &segments, query)),
        None => (Route::Unmatched, Err(method_not_allowed(routes))),
    }
}

fn routes(segments: &[&str]) -> &'static [(Method, Route)] {
    match segments {
        ["livez"] => &[(Method::GET, Route::Livez)],
        ["readyz"] => &[(Method::GET, Route::Readyz)],
        ["metrics"] => &[(Method::GET, Route::Metrics)],
        ["version"] => &[(Method::GET, Route::Version)],
        ["v1", "chats", _] => &[(Method::PUT, Route::SetMembers)],
        ["v1", "chats", _, "members"] => &[(Method::GET, Route::Members)],
        ["v1", "chats", _, "members", _] => &[(Method::PUT, Route::AddMember), (Method::DELETE, Route::RemoveMember)],
        ["v1", "chats", _, "messages"] => &[(Method::GET, Route::Messages)],
        ["v1", "users", _, "connections"] => &[(Method::DELETE, Route::Disconnect)],
        _ => &[],
    }
}

fn method_not_allowed(routes: &[(Method, Route)]) -> Problem {
    let methods: Vec<&str> =
        routes.iter().map(|(method, _)| if *method == Method::GET { "GET, HEAD" } else { method.as_str() }).collect();
    let allow = methods.join(", ");
    Problem { allow: Some(allow.clone()), ..Problem::new(Code::MethodNotAllowed, format!("it has {allow}")) }
}

/// `segments` are those of the route's path.
fn call(route: Route, segments: &[&str], query: &str) -> Result<Call, Problem> {
    // Probes and scrapers may add parameters of their own; only the API proper is strict.
    match route {
        Route::Livez => return Ok(Call::Livez),
        Route::Readyz => return Ok(Call::Readyz),
        Route::Metrics => return Ok(Call::Metrics),
        Route::Version => return Ok(Call::Version),
        _ => {}
    }
    let chat = || id(segments[2], ChatId::new);
    let user = |at: usize| id(segments[at], UserId::new);
    let mut query = Query::parse(query)?;
    let call = match route {
        Route::SetMembers => Call::SetMembers { chat: chat()?, members: BTreeSet::new() },
        Route::AddMember => Call::AddMember { chat: chat()?, user: user(4)? },
        Route::RemoveMember => Call::RemoveMember { chat: chat()?, user: user(4)? },
        Route::Members => {
            Call::Members { chat: chat()?, after: query.id("after", UserId::new)?, limit: limit(&mut query)? }
        }
        Route::Messages => messages(chat()?, &mut query)?,
        Route::Disconnect => Call::Disconnect { user: user(2)?, device: query.id("device", DeviceId::new)? },
        Route::Livez | Route::Readyz | Route::Metrics | Route::Version | Route::Unmatched => {
            unreachable!("answered above, or has no call")
        }
    };
    query.finish()?;
    Ok(call)
}

fn messages(chat: ChatId, query: &mut Query) -> Result<Call, Problem> {
    let after = query.number("after", 0..=SEQUENCE_MAX)?.map(Sequence);
    let before = query.number("before", 0..=SEQUENCE_MAX)?.map(Sequence);
    let limit = limit(query)?;
    let (from, direction) = match (after, before) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(Code::InvalidQuery, "give \"after\" or \"before\", not both"));
        }
        (None, Some(before)) => (Some(before), Direction::Backward),
        (after, None) => (after, Direction::Forward),
    };
    Ok(Call::Messages { chat, from, direction, limit })
}

fn limit(query: &mut Query) -> Result<usize, Problem> {
    let limit = query.number("limit", 1..=LIMIT_MAX as u64)?;
    Ok(limit.map_or(LIMIT_DEFAULT, |limit| usize::try_from(limit).expect("it is at most LIMIT_MAX")))
}

fn id<T>(segment: &str, new: impl FnOnce(String) -> Result<T, InvalidId>) -> Result<T, Problem> {
    let Some(text) = query::percent_decoded(segment) else {
        return Err(Problem::new(Code::InvalidId, "it is not UTF-8 written with percent signs"));
    };
    new(text).map_err(|error| Problem::invalid_id(&error))
}
