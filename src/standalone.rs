//! `roost` alone: gateway and fanout in one process on the embedded store, wired in start-up order.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use prometheus::{IntCounter, IntGauge, Registry};
use roost_fanout::{Fanout, FanoutMetrics, reap_all};
use roost_gateway::{Gateway, InternalListener, Parts, Readiness};
use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::{Storage, WorkerId};
use tokio::task::AbortHandle;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::signals::Signals;
use crate::store_metrics;

/// How often pending notifications are looked through for expired ones, and how many go at once.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
const EXPIRE_MAX: usize = 1_000;

/// Runs until a signal asks it to stop, or until it can not go on.
///
/// # Errors
/// Why it could not start, or not go on. Everything that was answered `sent` is on the disk; start it again.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let mut store = EmbeddedConfig::new(config.data.join("store"));
    store.dedupe_window = config.chats.dedupe_window;
    let embedded = Arc::new(tokio::task::spawn_blocking(move || Embedded::open(store)).await??);
    let outcome = serve(&config, &embedded, &mut signals).await;
    embedded.close().await;
    outcome
}

async fn serve(config: &Config, embedded: &Arc<Embedded>, signals: &mut Signals) -> anyhow::Result<()> {
    let registry = Registry::new();
    let internal = InternalListener::bind(config.gateway.api_listen, &registry).await?;
    let health = internal.serve_health(Arc::new(Starting));
    let storage = embedded.storage();
    registry.register(Box::new(store_metrics::of(embedded.clone())?))?;
    let fanout_metrics = Arc::new(FanoutMetrics::default());
    fanout_metrics.register(&registry)?;

    // The gateway of the process before this one is dead: what it owed is stored before anyone can connect, so that
    // notifications keep their order.
    let reaped = reap_all(&storage, &WorkerId::random(), &config.fanout, &fanout_metrics).await?;
    info!(gateways = reaped.gateways, pending = reaped.pending, "gateways of earlier lives reaped");
    let halted = fanout_metrics.partitions_halted.clone();
    let fanout = Fanout::start(storage.clone(), config.fanout.clone(), fanout_metrics);
    // So is what the process before this one had accepted and not routed to the end: it may have been delivered in part,
    // and would come again in the middle of what follows.
    tokio::select! {
        routed = everything_routed(&storage, &halted) => routed?,
        failure = fanout.failed() => bail!("fanout can not go on: {failure}"),
        () = signals.stop() => {
            fanout.stop().await;
            return Ok(());
        }
    }
    let expired = IntCounter::new("roost_pending_expired_total", "Pending notifications nobody came for in time")?;
    registry.register(Box::new(expired.clone()))?;
    let housekeeping = expire_pending(storage.clone(), config.chats.pending_ttl, expired);
    let parts = Parts {
        storage,
        gateway: config.gateway.clone(),
        auth: config.auth.clone(),
        chats: config.chats.clone(),
        registry,
        internal: health.end().await,
        readiness: Arc::new(StoreReadiness(embedded.clone())),
    };
    let mut gateway = match Gateway::start(parts).await {
        Ok(gateway) => gateway,
        Err(error) => {
            fanout.stop().await;
            return Err(error.into());
        }
    };
    announce(config, &gateway)?;
    if config.chats.open_join && !gateway.address().ip().is_loopback() {
        warn!("chats.open_join is set and other machines can connect: anyone with a token can join any chat");
    }

    let outcome = tokio::select! {
        () = signals.stop() => Ok(()),
        failure = embedded.failed() => Err(anyhow::Error::new(failure).context("the store has failed")),
        failure = fanout.failed() => Err(anyhow::anyhow!("fanout can not go on: {failure}")),
        reason = gateway.failed() => Err(anyhow::anyhow!(reason)),
    };
    housekeeping.abort();
    if let Err(reason) = outcome {
        // Nothing is acknowledged any more; the sockets close with the process, and clients come back to the next one.
        error!(%reason, "stopping at once");
        return Err(reason);
    }
    let drained = async {
        gateway.drain().await;
        fanout.stop().await;
    };
    signals.unless_again(drained).await
}

/// Waits until the event log is empty; nothing is appended meanwhile, since nobody can connect. With a partition that is
/// halted by a corrupt record it never would be: then the others are served all the same.
async fn everything_routed(storage: &Storage, halted: &IntGauge) -> anyhow::Result<()> {
    for partition in storage.log.partitions().all() {
        while storage.log.lag(partition).await? > 0 {
            if halted.get() > 0 {
                error!("a partition is halted by a corrupt record: its chats are not served");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

/// Tells a person where it listens and how to get in.
fn announce(config: &Config, gateway: &Gateway) -> anyhow::Result<()> {
    let program = std::env::args_os().next().unwrap_or_else(|| "roost".into());
    let data = match config.data == Path::new("roost-data") {
        true => String::new(),
        false => format!(" --data {}", config.data.display()),
    };
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Roost {version}, standalone; data in {directory}

  listening on http://{address} (clients: ws://{address}/socket)
  internal API on http://{api} (key: {key})

  a token: {program} token --user alice{data}
  Ctrl-C stops it; nothing that was answered `sent` is lost.
",
        version = env!("CARGO_PKG_VERSION"),
        directory = config.data.display(),
        address = gateway.address(),
        api = gateway.api_address(),
        key = config.gateway.api_key_file.as_deref().unwrap_or(Path::new("none")).display(),
        program = program.display(),
    )
    .and_then(|()| out.flush())
    .context("the start-up text could not be written")
}

/// Deletes pending notifications that nobody came for in time.
fn expire_pending(storage: Storage, ttl: Duration, count: IntCounter) -> AbortHandle {
    let expire = async move {
        loop {
            let before = SystemTime::now().checked_sub(ttl).unwrap_or(SystemTime::UNIX_EPOCH);
            match storage.pending.expire(before, EXPIRE_MAX).await {
                Ok(0) => tokio::time::sleep(EXPIRE_EVERY).await,
                Ok(expired) => {
                    count.inc_by(expired);
                    info!(expired, "pending notifications expired");
                }
                Err(error) => {
                    warn!(%error, "pending notifications not expired");
                    tokio::time::sleep(EXPIRE_EVERY).await;
                }
            }
        }
    };
    tokio::spawn(expire).abort_handle()
}

/// Before clients can connect.
struct Starting;

#[async_trait]
impl Readiness for Starting {
    async fn check(&self) -> Result<(), &'static str> {
        Err("starting")
    }
}

struct StoreReadiness(Arc<Embedded>);

#[async_trait]
impl Readiness for StoreReadiness {
    async fn check(&self) -> Result<(), &'static str> {
        tokio::select! {
            biased;
            _ = self.0.failed() => Err("storage unavailable"),
            () = std::future::ready(()) => Ok(()),
        }
    }
}
