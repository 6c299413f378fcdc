//! The internal listener, bound before anything else in a process, and what it serves where there is no API: a fanout,
//! and a gateway that waits for its backends.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Body;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::answer::Answer;
use super::health::{self, Readiness};
use super::http::{self, Site};
use super::metrics::ApiMetrics;
use super::problem::{Code, Problem};
use super::request::{self, Call, Route};
use crate::gateway::{StartError, listen};

/// The internal listener. Connections wait until something serves it.
pub struct InternalListener {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    pub(super) registry: Registry,
    pub(super) metrics: ApiMetrics,
}

impl InternalListener {
    /// Takes the port; port 0 takes a free one. Its requests are counted in `registry`, which is what `/metrics` shows.
    ///
    /// # Errors
    /// When the port can not be listened on, or the registry counts such requests already.
    pub async fn bind(address: SocketAddr, registry: &Registry) -> Result<Self, StartError> {
        let metrics = ApiMetrics::register(registry, &Route::HEALTH)?;
        let (listener, address) = listen(address).await?;
        Ok(Self { listener, address, registry: registry.clone(), metrics })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `/livez`, `/readyz`, `/metrics` and `/version` until that is ended or dropped.
    pub fn serve_health(self, readiness: Arc<dyn Readiness>) -> HealthServer {
        let (end, ended) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (registry, metrics) = (self.registry.clone(), self.metrics.clone());
            tokio::select! {
                never = http::serve(&self.listener, Arc::new(Health { readiness, registry, metrics })) => match never {},
                // An error says that the other end is dropped, and then so is this task.
                _ = ended => {}
            }
            self
        });
        HealthServer { end, task }
    }
}

/// Serves an [`InternalListener`] until it is dropped.
pub struct HealthServer {
    end: oneshot::Sender<()>,
    task: JoinSet<InternalListener>,
}

impl HealthServer {
    /// Ends its connections and gives the listener back, for another to serve it.
    pub async fn end(mut self) -> InternalListener {
        let _ = self.end.send(());
        let ended = self.task.join_next().await.expect("there is one task");
        ended.expect("it only accepts, which does not panic")
    }
}

struct Health {
    readiness: Arc<dyn Readiness>,
    registry: Registry,
    metrics: ApiMetrics,
}

impl Site for Health {
    async fn answer<B>(&self, request: hyper::Request<B>) -> Answer
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let uri = request.uri();
        let (route, call) = request::parse(request.method(), uri.path(), uri.query().unwrap_or_default());
        let (route, answer) = match call {
            _ if !Route::HEALTH.contains(&route) => (Route::Unmatched, Err(no_api())),
            Ok(Call::Livez) => (route, Ok(health::livez())),
            Ok(Call::Readyz) => (route, health::readyz(self.readiness.as_ref()).await),
            Ok(Call::Metrics) => (route, health::metrics(&self.registry)),
            Ok(Call::Version) => (route, Ok(health::version())),
            Ok(_) => (Route::Unmatched, Err(no_api())),
            Err(problem) => (route, Err(problem)),
        };
        let answer = answer.unwrap_or_else(Problem::into_answer);
        self.metrics.count(route, answer.status());
        answer
    }
}

fn no_api() -> Problem {
    Problem::new(
        Code::NotFound,
        "the API is served by gateways that are ready; here are /livez, /readyz, /metrics and /version",
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use async_trait::async_trait;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct NotYet;

    #[async_trait]
    impl Readiness for NotYet {
        async fn check(&self) -> Result<(), &'static str> {
            Err("redis unavailable")
        }
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_is_served_without_an_api_and_the_listener_goes_on_under_another_server() {
        let registry = Registry::new();
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = InternalListener::bind(free, &registry).await.unwrap();
        let address = listener.address();
        let server = listener.serve_health(Arc::new(NotYet));
        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        let ready = get(address, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains(r#""reason":"redis unavailable""#), "{ready}");
        assert!(get(address, "/version").await.contains("\"name\":\"roost\""));
        for path in ["/v1/chats/c/members", "/v1", "/"] {
            let answer = get(address, path).await;
            assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("not_found"), "{answer}");
        }

        let server = server.end().await.serve_health(Arc::new(health::Always));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains(r#"roost_api_requests_total{route="readyz",status="5xx"} 1"#), "{metrics}");
        assert!(metrics.contains(r#"roost_api_requests_total{route="unmatched",status="4xx"} 3"#), "{metrics}");
        assert!(!metrics.contains("set_members"), "{metrics}");
        drop(server);
    }
}
