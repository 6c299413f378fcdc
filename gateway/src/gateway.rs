//! A gateway's life: start-up in order, the lease, and the drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Registry;
use roost_storage::{GatewayId, Renewal, Storage, StorageError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::api::{self, ApiKey, InternalListener, Readiness};
use crate::appender::Appender;
use crate::auth::Authenticator;
use crate::close::Close;
use crate::config::{AuthConfig, ChatsConfig, GatewayConfig};
use crate::cursors;
use crate::following::Following;
use crate::handback::{self, Handback};
use crate::handshake::Policy;
use crate::hub::Hub;
use crate::mailbox::{Reader, Window};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::server;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something in the configuration cannot be used; every fault, a line each.
    #[error("{0}")]
    Configuration(String),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The storage did not take the gateway in.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Two parts of the process want the same metric.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// What a gateway is made from.
pub struct Parts {
    /// The backends.
    pub storage: Storage,
    /// `[gateway]`.
    pub gateway: GatewayConfig,
    /// `[auth]`.
    pub auth: AuthConfig,
    /// `[chats]`.
    pub chats: ChatsConfig,
    /// Where its metrics go: what `internal` was bound with.
    pub registry: Registry,
    /// Where it serves the API, health and metrics. The port stands in `gateway.api_listen`, or wherever else.
    pub internal: InternalListener,
    /// Whether what it depends on is there: `/readyz` answers with that while the gateway does not drain.
    pub readiness: Arc<dyn Readiness>,
}

/// A running gateway.
pub struct Gateway {
    node: Arc<Node>,
    window: Arc<Window>,
    address: SocketAddr,
    api_address: SocketAddr,
    listeners: JoinSet<()>,
    lease: JoinSet<()>,
    workers: JoinSet<()>,
}

impl Gateway {
    /// Takes the public port, opens the mailbox, takes the lease, starts reading, and only then accepts.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { storage, gateway: config, auth, chats, registry, internal, readiness } = parts;
        let authenticator = Authenticator::new(&auth).map_err(|faults| {
            StartError::Configuration(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        let policy = Policy::new(&config).map_err(|fault| StartError::Configuration(fault.to_string()))?;
        let key = config.api_key_file.as_deref().map(ApiKey::load).transpose();
        let key = key.map_err(|fault| StartError::Configuration(fault.to_string()))?;
        let metrics = Arc::new(Metrics::register(&registry)?);
        let (listener, address) = listen(config.listen).await?;
        let api_address = internal.address();

        let id = GatewayId::random();
        storage.mailboxes.open(&id).await?;
        storage.sessions.gateway_up(&id, config.lease_ttl).await?;
        let signals = storage.signals.subscribe(&id).await?;

        metrics.connections_limit.set(config.connections_max.try_into().unwrap_or(i64::MAX));
        let hub = Arc::new(Hub::new());
        let handback = Handback::new(metrics.clone());
        let window = Window::new(metrics.clone());
        let (appender, mut workers) = Appender::start(&storage.log, &metrics);
        let following = Arc::new(Following::new(id.clone(), storage.clone(), hub.clone()));
        let reader = Reader {
            gateway: id.clone(),
            storage: storage.clone(),
            hub: hub.clone(),
            handback: handback.clone(),
            following: following.clone(),
            window: window.clone(),
            window_max: config.mailbox_window,
            metrics: metrics.clone(),
        };
        workers.spawn(handback::run(handback.clone(), hub.clone(), storage.clone(), following.clone()));
        workers.spawn(cursors::run(hub.clone(), storage.clone(), config.cursor_interval, metrics.clone()));
        workers.spawn(async move { reader.run().await });
        workers.spawn(show_signals(signals, hub.clone()));
        let node = Arc::new(Node {
            permits: Arc::new(Semaphore::new(config.connections_max)),
            id,
            config,
            chats,
            storage,
            authenticator,
            expiry_grace: auth.expiry_grace,
            hub,
            handback,
            appender,
            metrics,
            draining: AtomicBool::new(false),
            running: AtomicU64::new(0),
            closed: Notify::new(),
            connection_counter: AtomicU64::new(1),
            following,
        });
        let mut listeners = JoinSet::new();
        listeners.spawn(server::serve(listener, node.clone(), policy));
        workers.spawn(api::serve(internal, node.clone(), key, readiness));
        let mut lease = JoinSet::new();
        lease.spawn(keep_lease(node.clone()));
        info!(gateway = %node.id, %address, %api_address, "gateway listening");
        Ok(Self { node, window, address, api_address, listeners, lease, workers })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Resolves with the reason when the gateway must not go on under this id: it has lost its lease and closed its
    /// sockets, or one of its tasks has ended, which none does by itself. Cancel safe.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            _ = self.lease.join_next() => "this node has lost its lease",
            _ = self.workers.join_next() => "a task of the gateway has ended",
        }
    }

    /// Leaves in good order, within about `gateway.drain_timeout`: readiness fails, no new socket is taken, open ones
    /// are answered, confirmed or handed back, and closed with 1012 in paced batches. What the mailbox still holds after
    /// that is left to a reaper.
    pub async fn drain(mut self) {
        let deadline = Instant::now() + self.node.config.drain_timeout;
        self.node.draining.store(true, Ordering::Relaxed);
        self.node.metrics.draining.set(1);
        self.listeners.abort_all();
        info!(connections = self.node.hub.connections(), "draining");
        if tokio::time::timeout_at(deadline, self.close_all()).await.is_err() {
            warn!(connections = self.node.hub.connections(), "drain timeout: connections are left open");
        }
        self.lease.abort_all();
        match tokio::time::timeout_at(deadline + Duration::from_secs(5), self.settle()).await {
            Ok(Ok(())) => info!("drained"),
            Ok(Err(error)) => warn!(%error, "mailbox left to the reaper"),
            Err(_) => warn!("mailbox left to the reaper: settling took too long"),
        }
        self.workers.abort_all();
    }

    async fn close_all(&self) {
        let (batch, interval) = (self.node.config.drain_batch.max(1), self.node.config.drain_interval);
        let links = self.node.hub.links();
        for (index, links) in links.chunks(batch).enumerate() {
            if index > 0 {
                // Jittered, so that gateways drained together do not send their clients back in step.
                tokio::time::sleep(interval.mul_f64(rand::random_range(0.75..1.25))).await;
            }
            for link in links {
                link.close(Close::Restart);
            }
        }
        until_closed(&self.node).await;
    }

    /// Nothing more comes in behind the fence; what is in the mailbox becomes pending, since nobody is connected.
    async fn settle(&self) -> Result<(), StorageError> {
        let storage = &self.node.storage;
        storage.mailboxes.fence(&self.node.id).await?;
        loop {
            self.node.handback.drained().await;
            let from = storage.mailboxes.confirmed(&self.node.id).await?;
            let left = storage.mailboxes.read(&self.node.id, from, 1, Duration::ZERO).await?;
            if left.is_empty() && self.window.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        storage.mailboxes.remove(&self.node.id).await?;
        storage.sessions.forget_gateway(&self.node.id).await
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// How soon a renewal that failed is tried again, at most: before a reaper that is back as well has seen the gateway dead
/// at two scans in a row (`fanout.reaper_interval`).
const RENEW_AGAIN: Duration = Duration::from_millis(250);

/// How long a gateway without a lease waits for its connections to close. It delivers nothing new meanwhile: its mailbox
/// is fenced.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Renews the lease until it is lost; then every socket is closed: whoever took over stores what they had not confirmed.
/// That it could not be renewed in time does not say so. Everybody may be without the storage, and when it is back the
/// lease is still there to renew; closing the sockets would only add a storm of reconnects to an outage.
async fn keep_lease(node: Arc<Node>) {
    let ttl = node.config.lease_ttl;
    let mut asked = Instant::now();
    let mut held_until = asked + ttl;
    let mut is_failing = false;
    loop {
        // Counted from when it was asked for: a slow storage takes nothing from the time that is left.
        let wait = if is_failing { RENEW_AGAIN.min(ttl / 3) } else { ttl / 3 };
        tokio::time::sleep_until(asked + wait).await;
        asked = Instant::now();
        let (renewal, is_late) = renew(&node, held_until - ttl / 4).await;
        match renewal {
            Ok(Renewal::Kept) => {
                if is_late {
                    warn!("lease renewed late, reading everyone's pending again");
                    node.following.after_a_lapse().await;
                    node.hub.miss_in_all_rooms();
                    node.hub.ring_all();
                }
                is_failing = false;
                held_until = asked + ttl;
            }
            Ok(Renewal::Lost) => break,
            Err(error) if error.is_transient() => {
                if !is_failing {
                    warn!(%error, "lease not renewed, trying again");
                }
                is_failing = true;
            }
            Err(error) => {
                error!(%error, "lease not renewed");
                break;
            }
        }
    }
    warn!(gateway = %node.id, "lease lost, closing every connection");
    node.draining.store(true, Ordering::Relaxed);
    // The process ends with this: those who take it get their close code first.
    let _ = tokio::time::timeout(CLOSE_WAIT, until_closed(&node)).await;
}

/// Renews the lease, and says whether it may have run out by then: it had not been renewed at `soon_over`. While it had run
/// out nobody here was found: what was stored then was not rung for, and messages of rooms did not come.
async fn renew(node: &Node, soon_over: Instant) -> (Result<Renewal, StorageError>, bool) {
    let renewal = node.storage.sessions.renew_gateway(&node.id, node.config.lease_ttl);
    tokio::pin!(renewal);
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(soon_over) => {}
        renewal = &mut renewal => return (renewal, false),
    }
    (renewal.await, true)
}

/// Asks every connection to close with 1012, and completes when none is left.
async fn until_closed(node: &Node) {
    loop {
        let closed = node.closed.notified();
        tokio::pin!(closed);
        closed.as_mut().enable();
        // A handshake that was under way may have become a connection since.
        for link in node.hub.links() {
            link.close(Close::Restart);
        }
        if node.running.load(Ordering::Relaxed) == 0 {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(100), closed).await;
    }
}

async fn show_signals(mut signals: Box<dyn roost_storage::SignalReceiver>, hub: Arc<Hub>) {
    while let Some(signal) = signals.next().await {
        hub.signal(&signal);
    }
}
