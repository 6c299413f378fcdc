//! Where log lines go: to stderr, as configured.

use std::io::{self, IsTerminal};

use crate::config::{LogConfig, LogFormat};

/// Starts logging, for the rest of the process.
///
/// # Errors
/// When the filter is none, or logging has been started already.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<()> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(config.parsed_filter()?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging can not be started: {error}"))
}
