//! The signals that end a process: the first one in good order, the second one at once.

use anyhow::bail;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on neither ends the process by itself.
    ///
    /// # Errors
    /// When the handlers can not be installed.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes when the process is asked to stop, and says so in the log. Cancel safe.
    pub(crate) async fn stop(&mut self) {
        let signal = self.next().await;
        info!(signal, "stopping");
    }

    /// Waits for what must be done before the process ends, unless it is asked to stop once more.
    ///
    /// # Errors
    /// When it is.
    pub(crate) async fn unless_again(&mut self, last: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = last => Ok(()),
            signal = self.next() => bail!("{signal} came again: stopped without draining"),
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
