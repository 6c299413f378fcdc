//! Roost's fanout: reads the event log's partitions in order, routes each message, reaps dead gateways.
//!
//! Everything goes through [`roost_storage::Storage`]; no backend is known here. The way of one batch is in `batch`,
//! who gets what in `plan`, what happens to those who are not reachable in `store`.

mod assignment;
mod batch;
mod config;
mod context;
mod coordinator;
mod locate;
mod members;
mod metrics;
mod partition;
mod plan;
mod put;
mod reaper;
mod removals;
mod retry;
mod rooms;
mod store;
#[cfg(test)]
mod tests;

pub use config::FanoutConfig;
pub use coordinator::{Announced, Fanout, FanoutFailure};
pub use metrics::FanoutMetrics;
pub use reaper::{ReapReport, reap_all};
