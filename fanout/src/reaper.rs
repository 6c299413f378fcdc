//! Dead gateways: fenced, their sessions removed, their mailboxes drained into pending, then forgotten.
//!
//! Each step may be repeated, by this worker or another: nothing is confirmed before it is stored, and the gateway is
//! forgotten last.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use roost_storage::{GatewayId, MailboxItem, Storage, StorageError, WorkerId};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::context::{Context, stopped};
use crate::partition::chain;
use crate::removals::is_notebook;
use crate::store::{ring, store_and_ring};
use crate::{FanoutConfig, FanoutMetrics};

/// Sessions and mailbox entries in one page.
const PAGE_MAX: usize = 256;

/// What reaping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReapReport {
    /// Gateways reaped to the end.
    pub gateways: u64,
    /// Sessions removed.
    pub sessions: u64,
    /// Obligations of theirs that became pending.
    pub pending: u64,
}

/// Reaps every dead gateway to the end, waiting for other workers' claims. For a start-up where no gateway of before
/// can live any more, before anything else starts.
///
/// # Errors
/// Those of the storage. What was not finished is found again by the next call.
pub async fn reap_all(
    storage: &Storage,
    worker: &WorkerId,
    config: &FanoutConfig,
    metrics: &Arc<FanoutMetrics>,
) -> Result<ReapReport, StorageError> {
    let context = Context::new(storage.clone(), config.clone(), metrics.clone(), worker.clone());
    let mut report = ReapReport::default();
    loop {
        let dead = storage.sessions.dead_gateways().await?;
        let mut claimed_by_others = false;
        for gateway in &dead {
            claimed_by_others |= !reap(&context, gateway, &mut report).await?;
        }
        if dead.is_empty() {
            return Ok(report);
        }
        if claimed_by_others {
            sleep(config.retry_wait_min).await;
        }
    }
}

/// The task that looks for dead gateways.
pub(crate) struct Reaper {
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
    /// Dead at the last scan. A gateway is reaped when it is dead at two in a row: a process that was stopped and goes
    /// on, and a storage that was away for a while, get the time to renew.
    suspects: HashSet<GatewayId>,
    halted: HashSet<GatewayId>,
}

impl Reaper {
    pub(crate) fn new(context: Arc<Context>, stop: watch::Receiver<bool>) -> Self {
        Self { context, stop, suspects: HashSet::new(), halted: HashSet::new() }
    }

    /// Scans until asked to stop, or until the storage fails for good.
    pub(crate) async fn run(mut self) -> Result<(), StorageError> {
        let mut backoff = self.context.backoff();
        loop {
            let wait = match self.scan().await {
                Ok(()) => {
                    backoff.reset();
                    self.context.config.reaper_interval
                }
                Err(error) if error.is_transient() => {
                    self.context.metrics.retries_unavailable.inc();
                    warn!(error = %chain(&error), "storage unavailable, reaping will be repeated");
                    // Leases may have run out because nobody could renew them.
                    self.suspects.clear();
                    backoff.next_wait().max(self.context.config.reaper_interval)
                }
                Err(StorageError::Corrupt { what }) => {
                    error!(record = what, "corrupt record among the gateways' leases");
                    self.context.config.reaper_interval
                }
                Err(error) => return Err(error),
            };
            if timeout(wait, stopped(&self.stop)).await.is_ok() {
                return Ok(());
            }
        }
    }

    pub(crate) async fn scan(&mut self) -> Result<(), StorageError> {
        let dead: HashSet<_> = self.context.storage.sessions.dead_gateways().await?.into_iter().collect();
        let twice: Vec<_> = dead.intersection(&self.suspects).cloned().collect();
        self.suspects = dead;
        for gateway in twice {
            if self.halted.contains(&gateway) {
                continue;
            }
            match reap(&self.context, &gateway, &mut ReapReport::default()).await {
                Err(StorageError::Corrupt { what }) => {
                    error!(gateway.id = %gateway, record = what, "corrupt record, gateway not reaped");
                    self.context.metrics.reaps_halted.inc();
                    self.halted.insert(gateway);
                }
                outcome => {
                    outcome?;
                }
            }
        }
        Ok(())
    }
}

/// False when the gateway lives after all, or another worker reaps it.
pub(crate) async fn reap(
    context: &Context,
    gateway: &GatewayId,
    report: &mut ReapReport,
) -> Result<bool, StorageError> {
    if is_notebook(gateway) {
        // Never had a lease. What is in it is for the partition's next holder.
        context.storage.sessions.forget_gateway(gateway).await?;
        return Ok(true);
    }
    if !claim(context, gateway).await? {
        return Ok(false);
    }
    let (sessions, mailboxes) = (&context.storage.sessions, &context.storage.mailboxes);
    mailboxes.fence(gateway).await?;
    if !remove_sessions(context, gateway, report).await? || !drain(context, gateway, report).await? {
        return Ok(false);
    }
    mailboxes.remove(gateway).await?;
    sessions.forget_gateway(gateway).await?;
    report.gateways += 1;
    context.metrics.reaped_gateways.inc();
    info!(gateway.id = %gateway, "dead gateway reaped");
    Ok(true)
}

/// Claims, or renews the claim.
async fn claim(context: &Context, gateway: &GatewayId) -> Result<bool, StorageError> {
    context.storage.sessions.claim_gateway(gateway, &context.worker, context.config.lease_ttl).await
}

async fn remove_sessions(
    context: &Context,
    gateway: &GatewayId,
    report: &mut ReapReport,
) -> Result<bool, StorageError> {
    let sessions = &context.storage.sessions;
    loop {
        let page = sessions.sessions_of(gateway, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(true);
        }
        report.sessions += page.len() as u64;
        let users = page.iter().map(|key| key.user.clone()).collect();
        let removals = stream::iter(page).map(|key| async move { sessions.unregister(&key).await });
        removals.buffer_unordered(context.config.concurrency_max.max(1)).try_collect::<()>().await?;
        // Who was in a room here and is not any more has to be notified of it elsewhere.
        ring(context, users, &[gateway.clone()].into()).await?;
        if !claim(context, gateway).await? {
            return Ok(false);
        }
    }
}

/// Moves what the gateway had not confirmed to pending, page by page. Rings, closes and disconnects need nothing: they
/// were for connections that are no more.
async fn drain(context: &Context, gateway: &GatewayId, report: &mut ReapReport) -> Result<bool, StorageError> {
    let mailboxes = &context.storage.mailboxes;
    let gone = [gateway.clone()].into();
    let mut after = mailboxes.confirmed(gateway).await?;
    loop {
        let entries = mailboxes.read(gateway, after, PAGE_MAX, Duration::ZERO).await?;
        let Some(last) = entries.last() else { return Ok(true) };
        after = last.position;
        let mut rows = Vec::new();
        for entry in entries {
            if let MailboxItem::Deliver(delivery) = entry.item {
                rows.extend(delivery.recipients.into_iter().map(|user| (user, delivery.message.clone())));
            }
        }
        store_and_ring(context, &rows, &gone).await?;
        mailboxes.confirm(gateway, after).await?;
        report.pending += rows.len() as u64;
        context.metrics.pending_reaped.inc_by(rows.len() as u64);
        if !claim(context, gateway).await? {
            return Ok(false);
        }
    }
}
