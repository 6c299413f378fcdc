//! What is reported: named figures, and latencies summed up.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::Run;
use crate::process::Process;

pub(crate) struct Report {
    scenario: String,
    figures: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn new(scenario: String) -> Self {
        Self { scenario, figures: Vec::new() }
    }

    /// Adds a figure; its unit ends the name.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64) {
        self.figures.push((name.into(), value));
    }

    pub(crate) fn add_latencies(&mut self, name: &str, mut latencies: Latencies) {
        latencies.0.sort_unstable();
        let at = |share: f64| {
            let last = latencies.0.len().saturating_sub(1);
            latencies.0.get((last as f64 * share).round() as usize).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
        };
        for (label, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            self.add(format!("{name}_{label}_ms"), at(share));
        }
    }

    /// What the server and this process used per `unit`, of which there were `count`.
    pub(crate) fn add_cpu(&mut self, used: &Used, unit: &str, count: u64) {
        if let Some(server) = used.server {
            self.add("server_cpu_seconds", server.as_secs_f64());
            self.add(format!("server_cpu_us_per_{unit}"), server.as_secs_f64() * 1e6 / count as f64);
        }
        self.add("own_cpu_seconds", used.own.as_secs_f64());
    }

    /// # Errors
    /// When the output can not be written.
    pub(crate) fn print(self, json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if json {
            let mut fields = Map::new();
            fields.insert("scenario".into(), Value::from(self.scenario));
            fields.extend(self.figures.into_iter().map(|(name, value)| (name, Value::from(value))));
            writeln!(out, "{}", serde_json::to_string(&fields)?)?;
        } else {
            writeln!(out, "{}", self.scenario)?;
            for (name, value) in &self.figures {
                writeln!(out, "  {name:<40} {value:>14.2}")?;
            }
        }
        Ok(out.flush()?)
    }
}

/// Latencies in microseconds.
#[derive(Default)]
pub(crate) struct Latencies(Vec<u32>);

impl Latencies {
    pub(crate) fn add_since(&mut self, begin: Instant) {
        self.0.push(begin.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
    }

    pub(crate) fn merge(&mut self, other: Latencies) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// Measures CPU time from when it is made.
pub(crate) struct Meter<'a> {
    run: &'a Run,
    server: Duration,
    own: Duration,
}

/// CPU time between two moments.
pub(crate) struct Used {
    pub(crate) server: Option<Duration>,
    pub(crate) own: Duration,
}

impl<'a> Meter<'a> {
    /// # Errors
    /// When there is no such server process.
    pub(crate) fn start(run: &'a Run) -> anyhow::Result<Self> {
        let server = run.server.as_ref().map(Process::cpu).transpose()?.unwrap_or_default();
        Ok(Self { run, server, own: Process::own().cpu()? })
    }

    /// # Errors
    /// When the server process has gone.
    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let server = self.run.server.as_ref().map(Process::cpu).transpose()?;
        Ok(Used { server: server.map(|now| now - self.server), own: Process::own().cpu()? - self.own })
    }
}
