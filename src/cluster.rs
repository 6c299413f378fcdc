//! The roles of a cluster, each wired in start-up order: the internal listener first, so that probes are answered while
//! the backends are waited for, then the backends, then what the role is.

mod backends;
mod metrics;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use prometheus::Registry;
use roost_fanout::{Announced, Fanout, FanoutMetrics};
use roost_gateway::{Gateway, InternalListener, Parts, Readiness};
use roost_storage::scylla::{self, MigrationReport};
use tracing::{error, info, warn};

use crate::config::Config;
use crate::role::Role;
use crate::signals::Signals;
use backends::{Backends, Starting};

/// Talks with clients until a signal asks it to stop, or until it can not go on.
///
/// # Errors
/// Why it could not start, or not go on. Start it again: it is a new gateway then, and what it owed is delivered.
pub(crate) async fn gateway(config: Config) -> anyhow::Result<()> {
    let Some(mut start) = Start::of(Role::Gateway, &config).await? else { return Ok(()) };
    let parts = Parts {
        storage: start.backends.storage(),
        gateway: config.gateway.clone(),
        auth: config.auth.clone(),
        chats: config.chats.clone(),
        registry: start.registry,
        internal: start.internal,
        readiness: start.backends.clone(),
    };
    if config.gateway.api_key_file.is_none() {
        warn!("gateway.api_key_file is not set: the HTTP API refuses every request");
    }
    let mut gateway = Gateway::start(parts).await.context("the gateway did not start")?;
    let address = gateway.address();
    print(&format!("  listening on http://{address} (clients: ws://{address}/socket)\n"))?;

    tokio::select! {
        () = start.signals.stop() => {}
        reason = gateway.failed() => return Err(stopped_at_once(reason)),
    }
    let stopped = start.signals.unless_again(gateway.drain()).await;
    start.backends.close();
    stopped
}

/// Routes messages until a signal asks it to stop, or until it can not go on.
///
/// # Errors
/// Why it could not start, or not go on. The other fanouts take over; start it again.
pub(crate) async fn fanout(config: Config) -> anyhow::Result<()> {
    let Some(mut start) = Start::of(Role::Fanout, &config).await? else { return Ok(()) };
    let metrics = Arc::new(FanoutMetrics::default());
    metrics.register(&start.registry)?;
    let fanout = Fanout::start(start.backends.storage(), config.fanout.clone(), metrics);
    let readiness = FanoutReadiness { announced: fanout.announced(), backends: start.backends.clone() };
    let _health = start.internal.serve_health(Arc::new(readiness));

    tokio::select! {
        () = start.signals.stop() => {}
        failure = fanout.failed() => {
            let failure = anyhow::Error::new(failure).context("fanout can not go on");
            return Err(stopped_at_once(format!("{failure:#}")));
        }
    }
    let stopped = start.signals.unless_again(fanout.stop()).await;
    start.backends.close();
    stopped
}

/// Makes the tables, or brings them up to this version.
///
/// # Errors
/// A sentence that says what to do. What was done until then is done; running it again goes on there.
pub(crate) async fn migrate(config: &Config, dry_run: bool) -> anyhow::Result<MigrationReport> {
    info!(version = env!("CARGO_PKG_VERSION"), scylla = config.scylla.nodes.join(","), dry_run, "migrate starting");
    Ok(scylla::migrate(&config.scylla, dry_run).await?)
}

/// What every role that serves has after its start.
struct Start {
    signals: Signals,
    registry: Registry,
    internal: InternalListener,
    backends: Arc<Backends>,
}

impl Start {
    /// `None` when the process is asked to stop before its backends are there.
    async fn of(role: Role, config: &Config) -> anyhow::Result<Option<Self>> {
        let mut signals = Signals::listen()?;
        let registry = Registry::new();
        let address = if role == Role::Fanout { config.fanout.api_listen } else { config.gateway.api_listen };
        let internal = InternalListener::bind(address, &registry).await?;
        announce(role, config, &internal)?;
        let starting = Arc::new(Starting::default());
        let health = internal.serve_health(starting.clone());
        let backends = tokio::select! {
            opened = Backends::open(config, &starting) => opened?,
            () = signals.stop() => return Ok(None),
        };
        backends.register(&registry)?;
        Ok(Some(Self { signals, registry, internal: health.end().await, backends: Arc::new(backends) }))
    }
}

/// Says in the log what was started, and to a person where it can be asked how it is.
fn announce(role: Role, config: &Config, internal: &InternalListener) -> anyhow::Result<()> {
    let (version, redis, api_address) = (env!("CARGO_PKG_VERSION"), &config.redis.url, internal.address());
    let (nodes, keyspace) = (config.scylla.nodes.join(", "), &config.scylla.keyspace);
    info!(%role, version, %redis, scylla = nodes, keyspace, %api_address, "starting");
    let key = match (role, &config.gateway.api_key_file) {
        (Role::Gateway, key) => format!(" (key: {})", key.as_deref().unwrap_or(Path::new("none")).display()),
        _ => String::new(),
    };
    print(&format!(
        "Roost {version}, {role}; Redis at {redis}, ScyllaDB at {nodes} (keyspace {keyspace})\n\n  \
         internal API on http://{api_address}{key}\n"
    ))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("the start-up text could not be written")
}

/// Nothing is acknowledged any more; sockets close with the process, and clients come back to another one.
fn stopped_at_once(reason: impl Into<String>) -> anyhow::Error {
    let reason = reason.into();
    error!(reason, "stopping at once");
    anyhow::anyhow!(reason)
}

/// A fanout is ready when the others count on it, and it can reach what it needs.
struct FanoutReadiness {
    announced: Announced,
    backends: Arc<Backends>,
}

#[async_trait]
impl Readiness for FanoutReadiness {
    async fn check(&self) -> Result<(), &'static str> {
        self.backends.check().await?;
        if self.announced.now() { Ok(()) } else { Err("not announced to the other fanouts") }
    }
}
