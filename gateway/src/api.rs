//! The internal HTTP listener: health, metrics, and the API under `/v1`. `docs/api.md` describes it for its users.
//!
//! One request goes through [`request`] (what does it ask for, without a socket), the key, the body, and one function
//! per route. Every error is a [`problem::Problem`].

mod answer;
mod body;
mod chats;
mod health;
mod http;
mod internal;
mod key;
mod messages;
mod metrics;
mod problem;
mod request;
mod users;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::AUTHORIZATION;
use prometheus::Registry;
use roost_storage::Change;
use tokio::time::timeout;
use tracing::warn;

use crate::node::Node;
use answer::Answer;
pub use health::Readiness;
use http::Site;
pub use internal::{HealthServer, InternalListener};
pub use key::ApiKey;
use metrics::ApiMetrics;
use problem::{Code, Problem};
use request::{Call, Route};

const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For one call, its body read; more than a membership change waits for fanout.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
struct Api {
    node: Arc<Node>,
    key: Option<ApiKey>,
    metrics: ApiMetrics,
    registry: Registry,
    readiness: Arc<dyn Readiness>,
}

/// Serves the internal listener until it is dropped, which ends its connections too; a change under way may then take
/// effect or not. Without a key everything under `/v1` is refused. Readiness follows [`Node::is_draining`], so it should
/// outlive the public listener.
pub(crate) async fn serve(
    internal: InternalListener,
    node: Arc<Node>,
    api_key: Option<ApiKey>,
    readiness: Arc<dyn Readiness>,
) {
    let metrics = internal.metrics;
    metrics.prepare(&Route::ALL);
    let api = Api { node, key: api_key, metrics, registry: internal.registry, readiness };
    match http::serve(&internal.listener, Arc::new(api)).await {}
}

impl Site for Api {
    async fn answer<B>(&self, request: hyper::Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let uri = request.uri();
        let (route, call) = request::parse(request.method(), uri.path(), uri.query().unwrap_or_default());
        let answer = if request::needs_key(uri.path()) {
            self.answer_with_key(call, request).await
        } else {
            match call {
                Ok(call) => self.perform(call).await,
                Err(problem) => Err(problem),
            }
        };
        let answer = answer.unwrap_or_else(Problem::into_answer);
        self.metrics.count(route, answer.status());
        answer
    }
}

impl Api {
    /// Without the key nothing is said about the request, not even whether there is such a path.
    async fn answer_with_key<B>(
        &self,
        call: Result<Call, Problem>,
        request: hyper::Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        key::check(self.key.as_ref(), request.headers().get(AUTHORIZATION))?;
        let mut call = call?;
        let members_max = self.node.chats.members_per_request_max;
        if let Call::SetMembers { members, .. } = &mut call {
            body::check_is_json(request.headers())?;
            let json = body::read(request.into_body(), body::members_bytes_max(members_max), BODY_READ_TIMEOUT).await?;
            *members = body::members(&json, members_max)?;
        } else {
            body::check_is_empty(request.into_body(), BODY_READ_TIMEOUT).await?;
        }
        self.perform(call).await
    }

    async fn readyz(&self) -> Result<Answer, Problem> {
        if self.node.is_draining() {
            return Err(Problem::new(Code::NotReady, "draining"));
        }
        health::readyz(self.readiness.as_ref()).await
    }

    async fn perform(&self, call: Call) -> Result<Answer, Problem> {
        let node = self.node.as_ref();
        let performed = async {
            match call {
                Call::Livez => Ok(health::livez()),
                Call::Readyz => self.readyz().await,
                Call::Metrics => health::metrics(&self.registry),
                Call::Version => Ok(health::version()),
                Call::SetMembers { chat, members } => chats::change(node, chat, Change::Set(members)).await,
                Call::AddMember { chat, user } => chats::change_existing(node, chat, Change::Add(user)).await,
                Call::RemoveMember { chat, user } => chats::change_existing(node, chat, Change::Remove(user)).await,
                Call::Members { chat, after, limit } => chats::members(node, chat, after, limit).await,
                Call::Messages { chat, from, direction, limit } => {
                    messages::list(node, chat, from, direction, limit).await
                }
                Call::Disconnect { user, device } => users::disconnect(node, user, device).await,
            }
        };
        timeout(CALL_TIMEOUT, performed).await.unwrap_or_else(|_| {
            warn!(timeout = ?CALL_TIMEOUT, "a call of the API took too long");
            let detail =
                "the storage did not answer in time; a change may or may not take effect, repeating it is safe";
            Err(Problem::new(Code::Unavailable, detail))
        })
    }
}
