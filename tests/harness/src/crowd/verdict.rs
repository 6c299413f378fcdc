//! The verdict on what a crowd saw, and the words for it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::Crowd;
use crate::Client;
use crate::checker::{Fault, Outcome, Record, Report, check};

/// How long the last messages may take to reach everybody once nothing is taken down any more.
const SETTLE: Duration = Duration::from_secs(30);

/// Waits until the checker has nothing to complain about, and gives up at once when waiting can not help. `last` are
/// everybody's last connections.
///
/// # Errors
/// The record and every fault in it.
///
/// # Panics
/// When one of the connections ends.
pub async fn settle(crowd: &Crowd, last: &mut [Client]) -> Result<Report, (Record, Vec<Fault>)> {
    let started = Instant::now();
    loop {
        for client in last.iter_mut() {
            client.heartbeat().await.expect("the last life keeps its connections");
        }
        let record = crowd.record(last);
        let faults = match check(&record) {
            Ok(report) => return Ok(report),
            Err(faults) => faults,
        };
        let may_come = faults.iter().all(|fault| matches!(fault, Fault::Lost { .. }));
        if !may_come || started.elapsed() > SETTLE {
            return Err((record, faults));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The first faults, and all that is known about the message of the first.
pub fn explain(record: &Record, faults: &[Fault]) -> String {
    let mut text: String = faults.iter().take(10).map(|fault| format!("  {fault:?}\n")).collect();
    let id = match &faults[0] {
        Fault::TwoIds { first: id, .. } => id,
        Fault::Lost { message_id: id, .. }
        | Fault::Reordered { message_id: id, .. }
        | Fault::SharedId { message_id: id, .. }
        | Fault::Stranger { message_id: id, .. }
        | Fault::Phantom { message_id: id, .. }
        | Fault::RefusedDelivered { message_id: id, .. } => id,
    };
    text.push_str(&format!("what is known about {id}:\n"));
    let all_seen = record.connections.iter().flat_map(|connection| &connection.seen);
    let contents: HashSet<_> = all_seen.filter(|seen| seen.message_id == *id).map(|seen| &seen.content).collect();
    for attempt in &record.attempts {
        let has_this_id = matches!(&attempt.outcome, Outcome::Sent(sent) if sent == id);
        if !has_this_id && !contents.contains(&attempt.content) {
            continue;
        }
        text.push_str(&format!("  {attempt:?}\n"));
    }
    for (number, connection) in record.connections.iter().enumerate() {
        for (place, seen) in connection.seen.iter().enumerate().filter(|(_, seen)| seen.message_id == *id) {
            let (user, device, count) = (&connection.user, &connection.device, connection.seen.len());
            let (kind, topic) = (seen.kind, &seen.topic);
            text.push_str(&format!(
                "  seen by {user} {device}: {kind:?} on {topic}, {place} of {count} on #{number}\n"
            ));
            if let Fault::Reordered { user, device, .. } = &faults[0]
                && (user, device) == (&connection.user, &connection.device)
            {
                for before in &connection.seen[place.saturating_sub(12)..place] {
                    text.push_str(&format!(
                        "    before it: {:?} {} on {}\n",
                        before.kind, before.message_id, before.chat
                    ));
                }
            }
        }
    }
    text
}
