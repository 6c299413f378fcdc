//! The public listener: accepts TCP, serves the handshake over HTTP/1.1, and turns an accepted one into a connection.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::connection::{Connection, Peer, Socket};
use crate::handshake::{self, Handshake, Policy, Refused};
use crate::node::{Node, Place};

/// Sockets beyond `gateway.connections_max` that are kept just long enough to be told so.
const REFUSALS_MAX: usize = 64;
/// How long to wait after a failed accept: it fails again at once while descriptors are short.
const ACCEPT_RETRY: std::time::Duration = std::time::Duration::from_millis(100);

/// A socket's permit among `gateway.connections_max`, handed on from the handshake to the connection.
type Permit = Mutex<Option<OwnedSemaphorePermit>>;

/// Accepts until dropped.
pub(crate) async fn serve(listener: TcpListener, node: Arc<Node>, policy: Policy) {
    let policy = Arc::new(policy);
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let permit = node.permits.clone().try_acquire_owned().ok();
        let refusal = match &permit {
            Some(_) => None,
            None => match refusals.clone().try_acquire_owned() {
                Ok(refusal) => Some(refusal),
                Err(_) => {
                    node.metrics.refused.with_label_values(&[handshake::RefusalReason::Limit.label()]).inc();
                    continue;
                }
            },
        };
        let (node, policy) = (node.clone(), policy.clone());
        tokio::spawn(async move {
            serve_stream(stream, permit, node, policy).await;
            drop(refusal);
        });
    }
}

async fn serve_stream(stream: TcpStream, permit: Option<OwnedSemaphorePermit>, node: Arc<Node>, policy: Arc<Policy>) {
    // Frames are coalesced by the connection; the kernel need not wait for more.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let timeout = node.config.handshake_timeout;
    let permit: Permit = Mutex::new(permit);
    let service = service_fn(|request| {
        let response = respond(request, &node, &policy, &permit);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match tokio::time::timeout(timeout, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "handshake not served"),
        Err(_) => debug!("handshake not finished in time"),
    }
}

fn respond(request: Request<Incoming>, node: &Arc<Node>, policy: &Policy, permit: &Permit) -> Response<Full<Bytes>> {
    if !handshake::is_socket_path(request.uri().path()) {
        return plain(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found");
    }
    match accept(request, node, policy, permit) {
        Ok(response) => response,
        Err(refused) => {
            node.metrics.refused.with_label_values(&[refused.reason.label()]).inc();
            let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::FORBIDDEN);
            let content_type = refused.content_type();
            plain(status, content_type, refused.body)
        }
    }
}

fn accept(
    request: Request<Incoming>,
    node: &Arc<Node>,
    policy: &Policy,
    permit: &Permit,
) -> Result<Response<Full<Bytes>>, Refused> {
    if node.is_draining() {
        return Err(Refused::draining());
    }
    let (mut parts, _body) = request.into_parts();
    let handshake = policy.check(&parts, &node.authenticator, SystemTime::now())?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let permit = permit.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(Refused::limit)?;
    let place = Place::new(node, permit);
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::try_from(&handshake.accept).expect("base64 is a header value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = handshake.protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    if let Some(upgrade) = upgrade {
        tokio::spawn(connect(upgrade, handshake, node.clone(), place));
    }
    Ok(response)
}

/// Takes the TCP stream over from the HTTP server and runs the connection in a task of its own, so that nothing of the
/// handshake stays in memory.
async fn connect(upgrade: OnUpgrade, handshake: Handshake, node: Arc<Node>, place: Place) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return debug!(%error, "upgrade not finished"),
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
    let socket = Socket::new(parts.io.into_inner(), parts.read_buf.to_vec(), node.config.frame_bytes_max).await;
    node.metrics.accepted.inc();
    let peer = Peer { verified: handshake.verified, device: handshake.device, serializer: handshake.serializer };
    tokio::spawn(Connection::serve(node, socket, peer, place));
}

fn plain(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // One request for each socket: one that goes on asking would keep its place without a token.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
