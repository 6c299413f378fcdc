//! The connections of the internal listener: how many, how long, and how slow they may be.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::answer::Answer;

/// Connections at once; further ones wait in the listener's backlog. An app's servers, a Prometheus and the probes
/// need a few dozen; each may hold a page of messages in memory.
const CONNECTIONS_MAX: usize = 256;
/// From one answer (or the accept) to the end of the next request's head, so also how long a connection may idle.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// After this a connection is asked to end, and dropped when it has not: one that never reads its answer gives its
/// place back.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(30);
/// After an accept that failed, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who answers.
pub(super) trait Site: Send + Sync + 'static {
    /// Answers one request. Dropped when its connection ends.
    fn answer<B>(&self, request: hyper::Request<B>) -> impl Future<Output = Answer> + Send
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>;
}

/// Accepts until it is dropped, which ends its connections too.
pub(super) async fn serve(listener: &TcpListener, site: Arc<impl Site>) -> Infallible {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        match accept(listener, &mut connections).await {
            Ok(stream) => {
                connections.spawn(serve_connection(site.clone(), stream, permit));
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

async fn serve_connection(site: Arc<impl Site>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    // Without it a small answer may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(request).await) }
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
