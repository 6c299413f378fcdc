//! `[log]`: what is logged, and how. Logs go to stderr.

use roost_storage::{Fault, Faults};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The ScyllaDB driver tells as warnings what we tell ourselves: which nodes come and go, and each attempt that fails.
const DRIVER: &str = "scylla=error";

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogConfig {
    /// Least level that is logged: error, warn, info, debug or trace; also by module, as `info,roost_gateway=debug`.
    /// The ScyllaDB driver's lines below error are shown when it is named: `info,scylla=info`.
    /// Too low a level (debug) writes a line per message; too high a one hides why something failed.
    pub(crate) filter: String,
    /// Form of a line.
    pub(crate) format: LogFormat,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

impl LogConfig {
    /// What is wrong with the values.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("log");
        if let Err(error) = self.parsed_filter() {
            faults.add("filter", format!("{:?} is not a filter: {error}", self.filter));
        }
        faults.found()
    }

    /// The filter.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn parsed_filter(&self) -> anyhow::Result<EnvFilter> {
        anyhow::ensure!(!self.filter.trim().is_empty(), "it is empty");
        // Later directives win.
        Ok(EnvFilter::builder().parse(format!("{DRIVER},{}", self.filter))?)
    }
}
