//! The kill test: a real server under load, killed with `kill -9` again and again, and a checker that compares what was
//! sent with what every client saw. `ROOST_KILL_SEED=N` repeats a run's choices.
#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod actor;
mod world;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roost_harness::checker::{Fault, Outcome, Record, Report, check};
use roost_harness::{Client, Node, NodeOptions, eventually};

use actor::Actor;
use world::World;

const KILLS: u32 = 32;
/// How long the last messages may take to reach everybody once the killing is over.
const SETTLE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_nothing_that_was_sent() {
    let seed = seed();
    println!("kill test: ROOST_KILL_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let options =
        NodeOptions::new(env!("CARGO_BIN_EXE_roost"), directory.path().join("data")).set("chats.open_join", false);
    let mut rng = StdRng::seed_from_u64(seed);
    let node = options.start().await.expect("the node starts");
    let world = World::new(&mut rng, &node).await;

    let started = Instant::now();
    let actors: Vec<_> = Actor::all(&world, seed, &node).into_iter().map(|actor| tokio::spawn(actor.live())).collect();
    println!("kill test: {} clients, {} chats", actors.len(), world.members.len());
    let (node, worst_restart) = kill_again_and_again(&mut rng, &options, node, &world).await;
    world.stop();
    let mut last = Vec::new();
    for actor in actors {
        last.push(actor.await.expect("no actor found anything wrong"));
    }
    let under_load = started.elapsed();

    let verdict = settle(&world, &mut last).await;
    println!(
        "kill test: {KILLS} kills and as many restarts in {:.1} s, worst restart {} ms, settled {:.1} s later",
        under_load.as_secs_f64(),
        worst_restart.as_millis(),
        (started.elapsed() - under_load).as_secs_f64(),
    );
    match verdict {
        Ok(report) => println!("kill test: {report}"),
        Err((record, faults)) => {
            panic!("ROOST_KILL_SEED={seed}: {} faults\n{}", faults.len(), explain(&record, &faults))
        }
    }
    nothing_is_left(&node).await;
    drop(last);
    assert!(node.terminate().await.success(), "the last life ends in good order");
}

#[expect(clippy::disallowed_methods, reason = "the test's own knob")]
fn seed() -> u64 {
    std::env::var("ROOST_KILL_SEED").map_or_else(|_| rand::random_range(0..1_000_000), |text| text.parse().unwrap())
}

/// Each life is ended after a time of its own: most in the middle of things, some right after the start, and some of the
/// restarts are killed themselves before they are done.
async fn kill_again_and_again(
    rng: &mut StdRng,
    options: &NodeOptions,
    mut node: Node,
    world: &World,
) -> (Node, Duration) {
    let mut worst = Duration::ZERO;
    let mut killed = 0;
    while killed < KILLS {
        let life = if rng.random_bool(0.2) { rng.random_range(0..50) } else { rng.random_range(300..2200) };
        tokio::time::sleep(Duration::from_millis(life)).await;
        node.kill_9();
        killed += 1;
        if rng.random_bool(0.15) {
            options.start_and_kill(Duration::from_millis(rng.random_range(1..120))).await;
            killed += 1;
        }
        let started = Instant::now();
        node = options.start().await.expect("the node starts again");
        worst = worst.max(started.elapsed());
        world.moved_to(node.address());
    }
    (node, worst)
}

/// Waits until the checker has nothing to complain about, and gives up at once when waiting can not help.
async fn settle(world: &World, last: &mut [Client]) -> Result<Report, (Record, Vec<Fault>)> {
    let started = Instant::now();
    loop {
        for client in last.iter_mut() {
            client.heartbeat().await.expect("the last life keeps its connections");
        }
        let record = world.record(last);
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

/// Everybody has everything, so nothing may be kept for anybody any longer.
async fn nothing_is_left(node: &Node) {
    eventually("the event log, the mailboxes and pending are empty", async || {
        let metrics = node.metrics().await;
        let left = ["log_entries", "mailbox_entries", "pending_rows"];
        let left = left.map(|what| metrics.metric(&format!("roost_store_{what}")));
        (left == [Some(0.0); 3]).then_some(())
    })
    .await;
}

/// The faults, and all that is known about the message of the first.
fn explain(record: &Record, faults: &[Fault]) -> String {
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
