//! A backend's numbers as metrics, read when they are scraped.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};

/// A metric's name and help, and where its value is in the numbers.
pub(crate) type Metric<S> = (&'static str, &'static str, Read<S>);

type Read<S> = fn(&S) -> u64;

/// Collects the numbers `S`.
pub(crate) struct StatsMetrics<S> {
    stats: Box<dyn Fn() -> S + Send + Sync>,
    gauges: Vec<(IntGauge, Read<S>)>,
    counters: Vec<(IntCounter, Read<S>)>,
}

impl<S> StatsMetrics<S> {
    /// Of numbers that `stats` looks up.
    ///
    /// # Errors
    /// Never in practice: when a name is not a metric's name.
    pub(crate) fn new(
        stats: impl Fn() -> S + Send + Sync + 'static,
        gauges: &[Metric<S>],
        counters: &[Metric<S>],
    ) -> Result<Self, prometheus::Error> {
        let gauge = |&(name, help, read): &Metric<S>| Ok((IntGauge::new(name, help)?, read));
        let counter = |&(name, help, read): &Metric<S>| Ok((IntCounter::new(name, help)?, read));
        Ok(Self {
            stats: Box::new(stats),
            gauges: gauges.iter().map(gauge).collect::<Result<_, prometheus::Error>>()?,
            counters: counters.iter().map(counter).collect::<Result<_, prometheus::Error>>()?,
        })
    }
}

impl<S: Send + Sync> Collector for StatsMetrics<S> {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = (self.stats)();
        for (gauge, read) in &self.gauges {
            gauge.set(read(&stats).try_into().unwrap_or(i64::MAX));
        }
        for (counter, read) in &self.counters {
            counter.inc_by(read(&stats).saturating_sub(counter.get()));
        }
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.collect());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.collect())).collect()
    }
}
