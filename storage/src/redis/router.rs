//! Sends each request to the primary that owns its keys, and follows when they move.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, Value};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::endpoint::{Address, Endpoint};
use super::error::Fault;
use super::keys::slot;
use super::lane::{Command, Lane, Request, Shared, chain, count};
use super::scripts::Script;
use super::topology::{Topology, discover};

/// How often one request is sent on to another server before it fails.
const REDIRECTS_MAX: usize = 5;
/// Least time between two questions who owns what.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(100);

/// The way to every primary.
pub(super) struct Router {
    inner: Arc<Inner>,
    refresher: AbortHandle,
}

struct Inner {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    connections: usize,
    topology: RwLock<Arc<Topology>>,
    nodes: Mutex<HashMap<Address, Arc<Node>>>,
}

/// A primary's lanes. Requests of one slot take one lane, so that they stay in order.
struct Node {
    writers: Vec<Lane>,
    readers: Vec<Lane>,
}

impl Node {
    fn start(inner: &Inner, address: &Address) -> Self {
        let lanes = |count: usize, writes| (0..count).map(|_| Lane::start(&inner.shared, address, writes)).collect();
        Self { writers: lanes(inner.connections, true), readers: lanes(inner.connections.div_ceil(2), false) }
    }

    fn lane(&self, request: &Request) -> &Lane {
        let lanes = if request.writes { &self.writers } else { &self.readers };
        &lanes[usize::from(request.slot) % lanes.len()]
    }
}

impl Router {
    /// Finds the primaries.
    pub(super) async fn start(shared: Arc<Shared>, endpoint: Endpoint, connections: usize) -> Result<Self, Fault> {
        let topology = discover(&shared.connector, &endpoint, &Topology::default()).await?;
        let inner = Arc::new(Inner {
            shared,
            endpoint,
            connections,
            topology: RwLock::new(Arc::new(topology)),
            nodes: Mutex::default(),
        });
        let refresher = tokio::spawn(refresh(inner.clone())).abort_handle();
        Ok(Self { inner, refresher })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Asks again who owns what, soon.
    pub(super) fn suspect_change(&self) {
        self.inner.shared.changed.notify_one();
    }

    pub(super) fn topology(&self) -> Arc<Topology> {
        self.inner.topology()
    }

    /// Runs a script. Its answer comes when what it wrote is durable.
    pub(super) async fn write(
        &self,
        script: Script,
        keys: Vec<String>,
        arguments: Vec<Vec<u8>>,
    ) -> Result<Value, Fault> {
        let slot = slot(&keys[0]);
        self.call(Request { slot, command: Command::Script { script, keys, arguments }, writes: true }).await
    }

    /// Runs a command that writes `key`. Its answer comes when that is durable.
    pub(super) async fn write_plain(&self, key: &str, command: Cmd) -> Result<Value, Fault> {
        self.call(Request { slot: slot(key), command: Command::Plain(command), writes: true }).await
    }

    /// Runs a command that only reads `key`.
    pub(super) async fn read(&self, key: &str, command: Cmd) -> Result<Value, Fault> {
        self.call(Request { slot: slot(key), command: Command::Plain(command), writes: false }).await
    }

    /// Runs a script that only reads, once for each key, all side by side.
    pub(super) async fn read_each(&self, script: Script, keys: Vec<String>) -> Result<Vec<Value>, Fault> {
        let call = |key: String| {
            let (slot, keys) = (slot(&key), vec![key]);
            self.call(Request { slot, command: Command::Script { script, keys, arguments: Vec::new() }, writes: false })
        };
        try_join_all(keys.into_iter().map(call)).await
    }

    /// The server's answer. Not cancel safe: what is queued is sent all the same.
    pub(super) async fn call(&self, request: Request) -> Result<Value, Fault> {
        // Connecting, one pipeline that is under way, and the request's own.
        let most = self.inner.shared.connector.command_timeout * 4;
        let request = Arc::new(request);
        let answer = tokio::time::timeout(most, async {
            match self.follow(&request).await {
                // The connection may have been dead before: what only reads is sent once more.
                Err(Fault::Connection(_)) if !request.writes => self.follow(&request).await,
                answer => answer,
            }
        });
        let answer = answer.await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::of(io::Error::from(io::ErrorKind::TimedOut).into())));
        if answer.as_ref().is_err_and(Fault::suggests_change) {
            self.suspect_change();
        }
        answer
    }

    async fn follow(&self, request: &Arc<Request>) -> Result<Value, Fault> {
        let mut address = self.topology().owner(request.slot).cloned().ok_or(Fault::NoPrimary)?;
        let mut asking = false;
        for _ in 0..REDIRECTS_MAX {
            let answer = self.inner.node(&address).lane(request).call(request, asking).await;
            let Err(Fault::Server(error)) = &answer else { return answer };
            let moved = match error.code() {
                "MOVED" => false,
                "ASK" => true,
                _ => return answer,
            };
            // Refused, so not run: it may be sent on.
            let Some(next) = redirect(error.details(), &address) else { return answer };
            count(&self.inner.shared.counts.redirects);
            asking = moved;
            if !asking {
                self.suspect_change();
            }
            address = next;
        }
        Err(Fault::NoPrimary)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

/// The server that `MOVED` or `ASK` names, behind the slot.
fn redirect(details: Option<&str>, answering: &Address) -> Option<Address> {
    Address::parse_redirect(details?.split_ascii_whitespace().nth(1)?, answering)
}

impl Inner {
    fn topology(&self) -> Arc<Topology> {
        self.topology.read().expect("the topology's lock is never poisoned").clone()
    }

    fn node(&self, address: &Address) -> Arc<Node> {
        let mut nodes = self.nodes.lock().expect("the nodes' lock is never poisoned");
        if let Some(node) = nodes.get(address) {
            return node.clone();
        }
        let node = Arc::new(Node::start(self, address));
        nodes.insert(address.clone(), node.clone());
        node
    }

    fn set(&self, topology: Topology) {
        if *self.topology() == topology {
            return;
        }
        let primaries = topology.primaries();
        let names = primaries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        info!(primaries = names, "redis primaries changed");
        self.nodes.lock().expect("the nodes' lock is never poisoned").retain(|address, _| primaries.contains(address));
        *self.topology.write().expect("the topology's lock is never poisoned") = Arc::new(topology);
    }
}

/// Asks who owns what whenever that may have changed.
async fn refresh(inner: Arc<Inner>) {
    loop {
        inner.shared.changed.notified().await;
        match discover(&inner.shared.connector, &inner.endpoint, &inner.topology()).await {
            Ok(topology) => inner.set(topology),
            Err(fault) => warn!(error = %chain(&fault), "nobody answers who the redis primaries are"),
        }
        tokio::time::sleep(DISCOVERY_INTERVAL).await;
    }
}
