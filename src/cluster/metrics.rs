//! Which metrics the backends of a cluster have.

use std::sync::Arc;

use prometheus::Registry;
use roost_storage::redis::{RedisStats, RedisStorage};
use roost_storage::scylla::{ScyllaStats, ScyllaStorage};

use crate::stats_metrics::{Metric, StatsMetrics};

const REDIS_GAUGES: [Metric<RedisStats>; 1] = [(
    "roost_redis_eviction_allowed",
    "1 when a Redis server may evict keys, which redis.allow_eviction_policy allows: it may then delete messages",
    |stats| stats.eviction_allowed.into(),
)];

const REDIS_COUNTERS: [Metric<RedisStats>; 8] = [
    ("roost_redis_connects_total", "Connections opened to Redis", |stats| stats.connects_total),
    ("roost_redis_connects_failed_total", "Attempts to connect to Redis that failed", |stats| {
        stats.connects_failed_total
    }),
    ("roost_redis_requests_total", "Commands and scripts sent to Redis, but for waiting reads", |stats| {
        stats.requests_total
    }),
    ("roost_redis_pipelines_total", "Pipelines they were sent in", |stats| stats.pipelines_total),
    ("roost_redis_not_durable_total", "Pipelines whose writes did not become durable in time", |stats| {
        stats.not_durable_total
    }),
    ("roost_redis_scripts_reloaded_total", "Times a Redis server had forgotten the scripts", |stats| {
        stats.scripts_reloaded_total
    }),
    ("roost_redis_redirects_total", "Requests sent on to another server of a Redis Cluster", |stats| {
        stats.redirects_total
    }),
    ("roost_redis_signals_lost_total", "Signals that slow receivers have lost, or that could not be read", |stats| {
        stats.signals_lost_total
    }),
];

const SCYLLA_GAUGES: [Metric<ScyllaStats>; 2] = [
    (
        "roost_scylla_requests_in_flight",
        "Requests to ScyllaDB under way; bounded by roost_scylla_requests_in_flight_limit",
        |stats| stats.in_flight,
    ),
    ("roost_scylla_requests_in_flight_limit", "Requests to ScyllaDB that may be under way", |stats| {
        stats.in_flight_max
    }),
];

const SCYLLA_COUNTERS: [Metric<ScyllaStats>; 3] = [
    ("roost_scylla_requests_total", "Requests to ScyllaDB that were answered or have failed", |stats| {
        stats.requests_total
    }),
    (
        "roost_scylla_repetitions_total",
        "Requests sent to ScyllaDB again after a timeout or a broken connection",
        |stats| stats.repetitions_total,
    ),
    ("roost_scylla_failures_total", "Requests to ScyllaDB that failed in the end", |stats| stats.failures_total),
];

/// Makes the backends' numbers part of what `registry` gathers.
///
/// # Errors
/// When it has them already.
pub(super) fn register(
    registry: &Registry,
    redis: Arc<RedisStorage>,
    scylla: Arc<ScyllaStorage>,
) -> Result<(), prometheus::Error> {
    let redis = StatsMetrics::new(move || redis.stats(), &REDIS_GAUGES, &REDIS_COUNTERS)?;
    registry.register(Box::new(redis))?;
    let scylla = StatsMetrics::new(move || scylla.stats(), &SCYLLA_GAUGES, &SCYLLA_COUNTERS)?;
    registry.register(Box::new(scylla))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What `docs/metrics.md` says of metrics that begin with this, with their types.
    fn documented(prefix: &str) -> BTreeSet<(String, String)> {
        let rows = include_str!("../../docs/metrics.md").lines();
        let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let ours = cells.filter(|cells| cells.len() > 3 && cells[1].starts_with(&format!("`{prefix}")));
        ours.map(|cells| (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())).collect()
    }

    fn served<S: Send + Sync + 'static>(metrics: StatsMetrics<S>) -> BTreeSet<(String, String)> {
        let registry = Registry::new();
        registry.register(Box::new(metrics)).unwrap();
        let families = registry.gather();
        let served = |family: &prometheus::proto::MetricFamily| {
            assert_eq!(family.get_metric().len(), 1, "{} is there from the start", family.name());
            (family.name().to_owned(), format!("{:?}", family.get_field_type()).to_lowercase())
        };
        families.iter().map(served).collect()
    }

    #[test]
    fn every_metric_of_the_backends_is_documented_and_no_other() {
        let stats = || RedisStats {
            connects_total: 1,
            connects_failed_total: 2,
            requests_total: 3,
            pipelines_total: 4,
            not_durable_total: 5,
            scripts_reloaded_total: 6,
            redirects_total: 7,
            signals_lost_total: 8,
            eviction_allowed: true,
        };
        let redis = StatsMetrics::new(stats, &REDIS_GAUGES, &REDIS_COUNTERS).unwrap();
        assert_eq!(served(redis), documented("roost_redis_"));

        let stats = || ScyllaStats {
            requests_total: 1,
            repetitions_total: 2,
            failures_total: 3,
            in_flight: 4,
            in_flight_max: 5,
        };
        let scylla = StatsMetrics::new(stats, &SCYLLA_GAUGES, &SCYLLA_COUNTERS).unwrap();
        assert_eq!(served(scylla), documented("roost_scylla_"));
    }

    #[test]
    fn a_scrape_shows_the_numbers_of_its_moment() {
        let count = Arc::new(std::sync::atomic::AtomicU64::new(3));
        let seen = count.clone();
        let stats = move || seen.load(std::sync::atomic::Ordering::Relaxed);
        let registry = Registry::new();
        let metrics = StatsMetrics::new(stats, &[("a", "A", |n| *n)], &[("b_total", "B", |n| *n)]).unwrap();
        registry.register(Box::new(metrics)).unwrap();
        let numbers = || {
            let families = registry.gather();
            let value = |at: usize| &families[at].get_metric()[0];
            (value(0).get_gauge().get_value(), value(1).get_counter().get_value())
        };
        assert_eq!(numbers(), (3.0, 3.0));
        count.store(7, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(numbers(), (7.0, 7.0));
    }
}
