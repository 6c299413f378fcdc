//! What fanout counts. Every series exists from the start.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use roost_storage::Routing;

/// Fanout's metrics, named `roost_fanout_…`. Labels come from the enums here and from nothing else.
pub struct FanoutMetrics {
    /// Messages whose routing was done; again when a batch is repeated.
    pub messages: IntCounter,
    /// Messages of chats in room mode among them.
    pub room_messages: IntCounter,
    room_switches: IntCounterVec,
    /// Gateways told to read a room's history because their mailbox was full.
    pub room_rings: IntCounter,
    /// Obligations created: one per message and member who is not its sender.
    pub obligations: IntCounter,
    /// Membership changes applied.
    pub membership_changes: IntCounter,
    deliveries: IntCounterVec,
    /// Deliveries that a mailbox took.
    pub deliveries_accepted: IntCounter,
    /// Deliveries refused because the gateway is gone.
    pub deliveries_gone: IntCounter,
    /// Deliveries refused because the mailbox is at its length limit.
    pub deliveries_full: IntCounter,
    pending: IntCounterVec,
    /// Pending rows stored because the member was not reachable.
    pub pending_unreachable: IntCounter,
    /// Pending rows stored because the member's mailboxes refused.
    pub pending_refused: IntCounter,
    /// Pending rows stored from a dead gateway's mailbox.
    pub pending_reaped: IntCounter,
    /// Rings that a mailbox took.
    pub rings: IntCounter,
    retries: IntCounterVec,
    /// Attempts after the storage was unavailable.
    pub retries_unavailable: IntCounter,
    /// Attempts after a mailbox had no room for a ring or a close.
    pub retries_mailbox_full: IntCounter,
    /// Batches committed.
    pub batches: IntCounter,
    /// Events in a batch.
    pub batch_events: Histogram,
    /// From a batch's read to its commit.
    pub batch_duration: Histogram,
    /// Partitions this process holds.
    pub partitions_held: IntGauge,
    /// Partitions stopped by a corrupt record: someone must act.
    pub partitions_halted: IntGauge,
    /// Events above the cursor, summed over the partitions held.
    pub lag_events: IntGauge,
    /// Leases that another worker took while this one acted.
    pub lease_losses: IntCounter,
    /// Members in cached chats.
    pub members_cached: IntGauge,
    /// Chats pushed out of the members cache at its bound.
    pub members_evictions: IntCounter,
    /// Removals that a crash could leave without their channel closed: there was no room to write them down first.
    pub removals_unrecorded: IntCounter,
    /// Dead gateways whose mailbox was drained.
    pub reaped_gateways: IntCounter,
    /// Dead gateways left alone because of a corrupt record: someone must act.
    pub reaps_halted: IntGauge,
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(format!("roost_fanout_{name}"), help).expect("the name is a valid metric name")
}

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(format!("roost_fanout_{name}"), help), &[label])
        .expect("name and label are valid metric names")
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(format!("roost_fanout_{name}"), help).expect("the name is a valid metric name")
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(format!("roost_fanout_{name}"), help).buckets(buckets))
        .expect("name and buckets are valid")
}

impl Default for FanoutMetrics {
    fn default() -> Self {
        let deliveries =
            counters("deliveries_total", "Mailbox entries, by what the gateway's mailbox did with them.", "outcome");
        let pending = counters("pending_total", "Pending rows stored, by why.", "cause");
        let room_switches = counters("room_switches_total", "Chats that changed their routing, by what to.", "to");
        for to in [Routing::Members, Routing::Room] {
            room_switches.with_label_values(&[routing_label(to)]);
        }
        let retries = counters("retries_total", "Attempts repeated, by what was in the way.", "cause");
        Self {
            messages: counter("messages_total", "Messages routed."),
            room_messages: counter("room_messages_total", "Messages routed to rooms."),
            room_switches,
            room_rings: counter("room_rings_total", "Gateways told to read a room's history: their mailbox was full."),
            obligations: counter("obligations_total", "Messages times members who are to get them."),
            membership_changes: counter("membership_changes_total", "Membership changes applied."),
            deliveries_accepted: deliveries.with_label_values(&["accepted"]),
            deliveries_gone: deliveries.with_label_values(&["gone"]),
            deliveries_full: deliveries.with_label_values(&["full"]),
            deliveries,
            pending_unreachable: pending.with_label_values(&["unreachable"]),
            pending_refused: pending.with_label_values(&["refused"]),
            pending_reaped: pending.with_label_values(&["reaped"]),
            pending,
            rings: counter("rings_total", "Gateways asked to read a user's pending again."),
            retries_unavailable: retries.with_label_values(&["unavailable"]),
            retries_mailbox_full: retries.with_label_values(&["mailbox_full"]),
            retries,
            batches: counter("batches_total", "Batches committed."),
            batch_events: histogram("batch_events", "Events in a batch.", (0..11).map(|n| f64::from(1 << n)).collect()),
            batch_duration: histogram(
                "batch_duration_seconds",
                "From a batch's read to its commit.",
                vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
            ),
            partitions_held: gauge("partitions_held", "Partitions this process holds."),
            partitions_halted: gauge("partitions_halted", "Partitions stopped by a corrupt record."),
            lag_events: gauge("lag_events", "Events above the cursor, over all partitions held."),
            lease_losses: counter("lease_losses_total", "Leases lost while acting."),
            members_cached: gauge("members_cached", "Members in cached chats."),
            members_evictions: counter("members_evictions_total", "Chats pushed out of the members cache."),
            removals_unrecorded: counter("removals_unrecorded_total", "Removals not written down before applying."),
            reaped_gateways: counter("reaped_gateways_total", "Dead gateways reaped to the end."),
            reaps_halted: gauge("reaps_halted", "Dead gateways left alone because of a corrupt record."),
        }
    }
}

fn routing_label(routing: Routing) -> &'static str {
    match routing {
        Routing::Members => "members",
        Routing::Room => "room",
    }
}

impl FanoutMetrics {
    pub(crate) fn switched(&self, to: Routing) {
        self.room_switches.with_label_values(&[routing_label(to)]).inc();
    }

    /// Makes the metrics part of what `registry` gathers.
    ///
    /// # Errors
    /// When one of the names is already registered there.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let counters = [
            &self.messages,
            &self.room_messages,
            &self.room_rings,
            &self.obligations,
            &self.membership_changes,
            &self.rings,
            &self.batches,
            &self.lease_losses,
            &self.members_evictions,
            &self.removals_unrecorded,
            &self.reaped_gateways,
        ];
        for counter in counters {
            registry.register(Box::new(counter.clone()))?;
        }
        for counters in [&self.deliveries, &self.pending, &self.retries, &self.room_switches] {
            registry.register(Box::new(counters.clone()))?;
        }
        for histogram in [&self.batch_events, &self.batch_duration] {
            registry.register(Box::new(histogram.clone()))?;
        }
        let gauges = [
            &self.partitions_held,
            &self.partitions_halted,
            &self.lag_events,
            &self.members_cached,
            &self.reaps_halted,
        ];
        for gauge in gauges {
            registry.register(Box::new(gauge.clone()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_there_from_the_start() {
        let registry = Registry::new();
        let metrics = FanoutMetrics::default();
        metrics.register(&registry).unwrap();
        let families = registry.gather();
        let series = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            family.map_or(0, |family| family.get_metric().len())
        };
        assert_eq!(series("roost_fanout_deliveries_total"), 3);
        assert_eq!(series("roost_fanout_pending_total"), 3);
        assert_eq!(series("roost_fanout_retries_total"), 2);
        assert_eq!(series("roost_fanout_room_switches_total"), 2);
        assert_eq!(families.len(), 22);
        assert!(metrics.register(&registry).is_err(), "registering twice is refused");
    }
}
