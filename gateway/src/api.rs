//! The internal HTTP listener: health, metrics, and the API under `/v1`. `docs/api.md` describes it for its users.
//!
//! One request goes through [`request`] (what does it ask for, without a socket), the key, the body, and one function
//! per route. Every error is a [`problem::Problem`].

mod answer;
mod body;
mod chats;
mod health;
mod key;
mod messages;
mod metrics;
mod problem;
mod request;
mod users;

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use roost_storage::Change;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::node::Node;
use answer::Answer;
pub use key::ApiKey;
use metrics::ApiMetrics;
use problem::{Code, Problem};
use request::Call;

/// Connections at once; further ones wait in the listener's backlog. An app's servers, a Prometheus and the probes
/// need a few dozen; each may hold a page of messages in memory.
const CONNECTIONS_MAX: usize = 256;
/// From one answer (or the accept) to the end of the next request's head, so also how long a connection may idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For one call, its body read; more than a membership change waits for fanout.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// After this a connection is asked to end, and dropped when it has not: one that never reads its answer gives its
/// place back.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(30);
/// After an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Api {
    node: Arc<Node>,
    key: Option<ApiKey>,
    metrics: ApiMetrics,
}

/// Serves the internal listener until it is dropped, which ends its connections too; a change under way may then take
/// effect or not. Without a key everything under `/v1` is refused. Readiness follows [`Node::is_draining`], so it should outlive the public listener. Call it once per
/// node: it registers its metrics.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Node>, api_key: Option<ApiKey>) {
    let metrics = ApiMetrics::register(&node.registry).expect("a node's API is served once");
    let api = Arc::new(Api { node, key: api_key, metrics });
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        match accept(&listener, &mut connections).await {
            Ok(stream) => {
                connections.spawn(serve_connection(api.clone(), stream, permit));
            }
            Err(error) => {
                warn!(%error, "connection to the API not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection; meanwhile those that have ended are cleared away.
async fn accept(listener: &TcpListener, connections: &mut JoinSet<()>) -> std::io::Result<TcpStream> {
    loop {
        tokio::select! {
            accepted = listener.accept() => return accepted.map(|(stream, _)| stream),
            Some(ended) = connections.join_next() => note_panic(ended),
        }
    }
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "a connection to the API ended by a fault of ours");
    }
}

async fn serve_connection(api: Arc<Api>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    // Without it a small answer may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A client that went away or spoke no HTTP is none of our failures; hyper has answered what could be answered.
        _ = connection.as_mut() => {}
        () = sleep(CONNECTION_LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(GOODBYE_TIMEOUT, connection).await;
        }
    }
    drop(permit);
}

impl Api {
    async fn answer<B>(&self, request: hyper::Request<B>) -> Answer
    where
        B: Body<Data = Bytes>,
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

    /// Without the key nothing is said about the request, not even whether there is such a path.
    async fn answer_with_key<B>(
        &self,
        call: Result<Call, Problem>,
        request: hyper::Request<B>,
    ) -> Result<Answer, Problem>
    where
        B: Body<Data = Bytes>,
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

    async fn perform(&self, call: Call) -> Result<Answer, Problem> {
        let node = self.node.as_ref();
        let performed = async {
            match call {
                Call::Livez => Ok(health::livez()),
                Call::Readyz => health::readyz(node).await,
                Call::Metrics => health::metrics(&node.registry),
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
