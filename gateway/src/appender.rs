//! Appending to the event log: one task per partition turns what its connections send into batches, in order.
//!
//! One batch of a partition is under way at a time; what arrives meanwhile is the next one. So a batch costs one
//! durable write however many messages it holds, and the messages of one connection keep their order.

use std::sync::Arc;

use aws_lc_rs::digest;
use roost_storage::{AppendError, Appended, ChatId, DedupeKey, DeviceId, EventLog, NewEvent, Partitions, UserId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::metrics::Metrics;

/// Events waiting per partition; at the bound a send is refused as `overloaded`.
const QUEUE_MAX: usize = 2048;
const BATCH_MAX: usize = 256;

type Outcome = Result<Appended, AppendError>;

struct Job {
    event: NewEvent,
    answer: oneshot::Sender<Outcome>,
}

/// The queue of the event's partition is full: nothing was appended.
pub(crate) struct Overloaded;

/// Hands events to the event log. Dropping it lets the tasks finish what is queued.
pub(crate) struct Appender {
    partitions: Partitions,
    queues: Vec<mpsc::Sender<Job>>,
}

impl Appender {
    /// Starts a task per partition; the set ends when the appender is dropped and everything queued is answered.
    pub(crate) fn start(log: &Arc<dyn EventLog>, metrics: &Arc<Metrics>) -> (Self, JoinSet<()>) {
        let mut tasks = JoinSet::new();
        let queues = log
            .partitions()
            .all()
            .map(|_| {
                let (tx, rx) = mpsc::channel(QUEUE_MAX);
                tasks.spawn(append(log.clone(), rx, metrics.clone()));
                tx
            })
            .collect();
        (Self { partitions: log.partitions(), queues }, tasks)
    }

    /// Queues an event behind those queued before it for its partition. The answer comes once it is durable; an answer
    /// that is never sent means that the node is going down and the event may or may not be in the log.
    pub(crate) fn append(&self, event: NewEvent) -> Result<oneshot::Receiver<Outcome>, Overloaded> {
        let partition = self.partitions.of(&event.chat);
        let (answer, outcome) = oneshot::channel();
        let queue = &self.queues[usize::from(partition.0)];
        // A closed queue drops the sender of the answer with the job.
        if let Err(TrySendError::Full(_)) = queue.try_send(Job { event, answer }) {
            return Err(Overloaded);
        }
        Ok(outcome)
    }
}

async fn append(log: Arc<dyn EventLog>, mut rx: mpsc::Receiver<Job>, metrics: Arc<Metrics>) {
    let mut jobs = Vec::with_capacity(BATCH_MAX);
    while rx.recv_many(&mut jobs, BATCH_MAX).await > 0 {
        let (events, answers): (Vec<_>, Vec<_>) = jobs.drain(..).map(|job| (job.event, job.answer)).unzip();
        metrics.append_batch.observe(events.len() as f64);
        let outcomes = log.append(events).await;
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody waits any more when the connection has closed.
            let _ = answer.send(outcome);
        }
    }
}

/// The digest under which sending again is recognised: the same sender and device, chat, `mobile_ref_id` and content.
/// The content is part of it, so a reused `mobile_ref_id` is a new message; the device is, so that two devices that
/// count from 1 never swallow each other's messages.
pub(crate) fn dedupe_key(
    sender: &UserId,
    device: &DeviceId,
    chat: &ChatId,
    mobile_ref_id: &str,
    content: &str,
) -> DedupeKey {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [sender.as_str(), device.as_str(), chat.as_str(), mobile_ref_id, content] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_ref()[..16]);
    DedupeKey(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: [&str; 5]) -> DedupeKey {
        let [sender, device, chat, mobile_ref_id, content] = parts;
        let (sender, device) = (UserId::new(sender).unwrap(), DeviceId::new(device).unwrap());
        dedupe_key(&sender, &device, &ChatId::new(chat).unwrap(), mobile_ref_id, content)
    }

    #[test]
    fn every_part_of_a_message_tells_it_from_another() {
        let same = ["u", "d", "c", "1", "hi"];
        assert_eq!(key(same), key(same));
        for part in 0..5 {
            let mut other = same;
            other[part] = "x";
            assert_ne!(key(same), key(other));
        }
        assert_ne!(key(["u", "d", "c", "1", "2x"]), key(["u", "d", "c", "12", "x"]));
    }
}
