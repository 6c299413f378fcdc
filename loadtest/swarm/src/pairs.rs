//! Chats of two: how many messages per second are acknowledged and delivered, and how long that takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::Run;
use crate::client::{Client, Heard, connect_all};
use crate::report::{Latencies, Meter, Report};

/// How long what was sent may take to come, at the end.
const GRACE: Duration = Duration::from_secs(10);

/// One chat's schedule, and what the sender tells the receiver.
struct Pair {
    topic: String,
    window: usize,
    content_bytes: usize,
    /// The first message is due then, each later one an interval after the one before.
    first_due: Instant,
    interval: Option<Duration>,
    end: Instant,
    /// When each message was due, or was sent if there is no rate.
    due: Mutex<Vec<Instant>>,
    /// How many will have been sent; unknown while the sender runs.
    total: AtomicUsize,
    ended: Notify,
}

#[derive(Default)]
struct Outcome {
    acknowledged: Latencies,
    delivered: Latencies,
    refused: u64,
    /// Sent, and not heard of in time.
    missing: u64,
    last: Option<Instant>,
}

pub(crate) async fn run(run: Run, chats: u32, window: u32, rate: Option<u32>) -> anyhow::Result<Report> {
    let topic = |number: u32| run.target.chat_topic(number / 2);
    let mut clients = connect_all(&run.target, 0..chats * 2, |number, _| vec![topic(number)]).await?.into_iter();
    let meter = Meter::start(&run)?;
    let begin = Instant::now();
    let interval = rate.map(|rate| Duration::from_secs(1) * chats / rate);
    let mut tasks = JoinSet::new();
    for number in 0..chats {
        let (Some(sender), Some(receiver)) = (clients.next(), clients.next()) else { break };
        let pair = Arc::new(Pair {
            topic: run.target.chat_topic(number),
            window: window as usize,
            content_bytes: run.content_bytes,
            first_due: begin + interval.unwrap_or_default() * number / chats,
            interval,
            end: begin + run.duration,
            due: Mutex::default(),
            total: AtomicUsize::new(usize::MAX),
            ended: Notify::new(),
        });
        tasks.spawn(pair.clone().send(sender));
        tasks.spawn(pair.receive(receiver));
    }
    let mut sum = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        let outcome = outcome??;
        sum.acknowledged.merge(outcome.acknowledged);
        sum.delivered.merge(outcome.delivered);
        sum.refused += outcome.refused;
        sum.missing += outcome.missing;
        sum.last = sum.last.max(outcome.last);
    }
    let used = meter.used()?;
    let seconds = sum.last.unwrap_or(begin).duration_since(begin).as_secs_f64();
    let mut report = Report::new(format!("pairs, {chats} chats, window {window}, rate {rate:?}"));
    let (acknowledged, delivered) = (sum.acknowledged.len(), sum.delivered.len());
    report.add("acknowledged_per_second", acknowledged as f64 / seconds);
    report.add("delivered_per_second", delivered as f64 / seconds);
    report.add("refused", sum.refused as f64);
    report.add("missing", sum.missing as f64);
    report.add_latencies("acknowledged", sum.acknowledged);
    report.add_latencies("delivered", sum.delivered);
    report.add_cpu(&used, "message", acknowledged);
    Ok(report)
}

impl Pair {
    fn due_at(&self, number: usize) -> Option<Instant> {
        self.interval.map(|interval| self.first_due + interval * u32::try_from(number).unwrap_or(u32::MAX))
    }

    fn was_due(&self, number: usize) -> Option<Instant> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).get(number).copied()
    }

    async fn send(self: Arc<Self>, mut client: Client) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let (mut sent, mut answered) = (0, 0);
        loop {
            let now = Instant::now();
            let before = sent;
            while sent - answered < self.window && now < self.end && self.due_at(sent).is_none_or(|due| due <= now) {
                let due = self.due_at(sent).unwrap_or(now);
                self.due.lock().unwrap_or_else(PoisonError::into_inner).push(due);
                client.send(&self.topic, sent, self.content_bytes).await?;
                sent += 1;
            }
            if sent > before {
                client.flush().await?;
            }
            let is_over = now >= self.end;
            if is_over && (answered == sent || now >= self.end + GRACE) {
                break;
            }
            let wake = match self.due_at(sent) {
                _ if is_over => self.end + GRACE,
                Some(due) if sent - answered < self.window => due.min(self.end),
                _ => self.end,
            };
            tokio::select! {
                heard = client.hear() => match heard? {
                    Heard::Sent(number) => {
                        answered += 1;
                        self.was_due(number).into_iter().for_each(|due| outcome.acknowledged.add_since(due));
                        outcome.last = Some(Instant::now());
                    }
                    Heard::Refused => {
                        answered += 1;
                        outcome.refused += 1;
                    }
                    Heard::Received(_) | Heard::Other => {}
                },
                () = sleep_until(wake.into()) => {}
            }
        }
        outcome.missing = (sent - answered) as u64;
        let accepted = usize::try_from(outcome.acknowledged.len())?;
        self.total.store(accepted, Ordering::Release);
        self.ended.notify_one();
        Ok(outcome)
    }

    async fn receive(self: Arc<Self>, mut client: Client) -> anyhow::Result<Outcome> {
        let mut outcome = Outcome::default();
        let mut received = 0;
        while received < self.total.load(Ordering::Acquire) && Instant::now() < self.end + GRACE {
            tokio::select! {
                heard = client.hear() => if let Heard::Received(number) = heard? {
                    received += 1;
                    self.was_due(number).into_iter().for_each(|due| outcome.delivered.add_since(due));
                    outcome.last = Some(Instant::now());
                },
                () = self.ended.notified() => {}
                () = sleep_until((self.end + GRACE).into()) => {}
            }
        }
        let total = self.total.load(Ordering::Acquire);
        outcome.missing = if total == usize::MAX { 0 } else { total.saturating_sub(received) as u64 };
        Ok(outcome)
    }
}
