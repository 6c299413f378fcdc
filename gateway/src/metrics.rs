//! The gateway's metrics. Names are `roost_…`, labels come from enums only, every value is there from the start.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector, exponential_buckets,
};

use crate::close::Close;
use crate::handshake::RefusalReason;

/// Everything the gateway counts.
pub(crate) struct Metrics {
    pub(crate) connections: IntGauge,
    pub(crate) connections_limit: IntGauge,
    pub(crate) accepted: IntCounter,
    pub(crate) refused: IntCounterVec,
    pub(crate) closed: IntCounterVec,
    pub(crate) frames_received: IntCounter,
    pub(crate) frames_sent: IntCounter,
    pub(crate) throttled: IntCounter,
    pub(crate) joins: IntCounterVec,
    pub(crate) messages: IntCounterVec,
    pub(crate) append_batch: Histogram,
    pub(crate) delivered_room: IntCounter,
    pub(crate) delivered_notification: IntCounter,
    pub(crate) replayed: IntCounter,
    pub(crate) confirmed_live: IntCounter,
    pub(crate) confirmed_pending: IntCounter,
    pub(crate) handed_back: IntCounter,
    pub(crate) handback_queue: IntGauge,
    pub(crate) mailbox_window: IntGauge,
    pub(crate) mailbox_window_full: IntCounter,
    pub(crate) rooms_followed: IntGauge,
    pub(crate) cursors_dirty: IntGauge,
    pub(crate) cursors_stored: IntCounter,
    pub(crate) draining: IntGauge,
}

/// How a send was answered.
pub(crate) const MESSAGE_OUTCOMES: [&str; 5] = ["sent", "duplicate", "invalid", "overloaded", "unavailable"];
/// How a join was answered.
pub(crate) const JOIN_OUTCOMES: [&str; 3] = ["ok", "refused", "unavailable"];

impl Metrics {
    /// Makes them and registers them.
    ///
    /// # Errors
    /// When the registry already has one of the names.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let make = Maker(registry);
        let delivered = make.counters(
            "roost_deliveries_total",
            "Messages handed to a recipient's connections, by how they were reached",
            "kind",
            ["room", "notification"],
        )?;
        let confirmed = make.counters(
            "roost_confirmed_total",
            "Messages a client of the recipient has confirmed, by whether they came live or from pending",
            "kind",
            ["live", "pending"],
        )?;
        let batch = HistogramOpts::new("roost_append_batch_events", "Events appended to the event log at once")
            .buckets(exponential_buckets(1.0, 2.0, 9)?);
        Ok(Self {
            connections: make.gauge("roost_connections", "Open connections")?,
            connections_limit: make.gauge("roost_connections_limit", "Connections this node accepts at most")?,
            accepted: make.counter("roost_connections_accepted_total", "WebSocket handshakes completed")?,
            refused: make.counters(
                "roost_connections_refused_total",
                "WebSocket handshakes refused",
                "reason",
                RefusalReason::ALL.map(RefusalReason::label),
            )?,
            closed: make.counters(
                "roost_connections_closed_total",
                "Connections closed, by cause",
                "cause",
                Close::ALL.map(Close::label),
            )?,
            frames_received: make.counter("roost_frames_received_total", "Phoenix frames received")?,
            frames_sent: make.counter("roost_frames_sent_total", "Phoenix frames sent")?,
            throttled: make.counter(
                "roost_throttled_total",
                "Times a connection was not read for a while because it sent more frames than gateway.inbound_rate",
            )?,
            joins: make.counters("roost_joins_total", "Joins, by answer", "result", JOIN_OUTCOMES)?,
            messages: make.counters("roost_messages_total", "send_message, by answer", "result", MESSAGE_OUTCOMES)?,
            append_batch: make.registered(Histogram::with_opts(batch)?)?,
            delivered_room: delivered.with_label_values(&["room"]),
            delivered_notification: delivered.with_label_values(&["notification"]),
            replayed: make.counter("roost_replayed_total", "Pending notifications pushed")?,
            confirmed_live: confirmed.with_label_values(&["live"]),
            confirmed_pending: confirmed.with_label_values(&["pending"]),
            handed_back: make.counter(
                "roost_handed_back_total",
                "Messages that became pending because no connection confirmed them",
            )?,
            handback_queue: make.gauge(
                "roost_handback_queue_messages",
                "Messages waiting to become pending; bounded by the recipients of the entries in the mailbox window and, of big rooms, by what connections may have queued",
            )?,
            mailbox_window: make.gauge(
                "roost_mailbox_window_entries",
                "Mailbox entries read and not settled; bounded by gateway.mailbox_window",
            )?,
            mailbox_window_full: make.counter(
                "roost_mailbox_window_full_total",
                "Times the mailbox was not read because the window was full",
            )?,
            rooms_followed: make.gauge("roost_rooms_followed", "Chats in room mode that concern someone here")?,
            cursors_dirty: make.gauge(
                "roost_cursors_unstored",
                "Cursors changed when they were last stored; bounded by connected users times their rooms",
            )?,
            cursors_stored: make.counter("roost_cursors_stored_total", "Cursors of members of rooms stored")?,
            draining: make.gauge("roost_draining", "1 while the node drains")?,
        })
    }
}

struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn registered<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: [&str; N],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = self.registered(IntCounterVec::new(Opts::new(name, help), &[label])?)?;
        for value in values {
            counters.with_label_values(&[value]);
        }
        Ok(counters)
    }
}
