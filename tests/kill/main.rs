//! The kill test: a real server under load, killed with `kill -9` again and again, and a checker that compares what was
//! sent with what every client saw. `ROOST_KILL_SEED=N` repeats a run's choices.
#![allow(clippy::unwrap_used, reason = "all of this is a test")]

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use roost_harness::crowd::{Actor, Crowd, explain, settle};
use roost_harness::{Node, NodeOptions, eventually};

const KILLS: u32 = 32;
const USERS: usize = 16;
const CHATS: usize = 8;
/// Members who only come and go, so that chats become rooms and some of them stop being one.
const EXTRAS: usize = 12;
/// Every chat of four to ten members is a room with the extra ones; those of at most seven are none without.
const ROOM_ABOVE: usize = 14;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_at_any_moment_loses_nothing_that_was_sent() {
    let seed = seed();
    println!("kill test: ROOST_KILL_SEED={seed}");
    let directory = tempfile::tempdir().unwrap();
    let options =
        NodeOptions::new(env!("CARGO_BIN_EXE_roost"), directory.path().join("data")).set("chats.open_join", false);
    let options = options.set("fanout.room_above", ROOM_ABOVE).set("gateway.cursor_interval", "200ms");
    let mut rng = StdRng::seed_from_u64(seed);
    let node = options.start().await.expect("the node starts");
    let crowd = Crowd::new(&mut rng, USERS, CHATS, vec![node.address()]);
    for (chat, members) in &crowd.members {
        node.create_chat(chat, &members.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    let started = Instant::now();
    let actors: Vec<_> = Actor::all(&crowd, seed, |user, device| node.token(user, device))
        .into_iter()
        .map(|actor| tokio::spawn(actor.live()))
        .collect();
    println!("kill test: {} clients, {} chats", actors.len(), crowd.members.len());
    let Lives { node, worst_restart, switches } = kill_again_and_again(&mut rng, &options, node, &crowd).await;
    crowd.stop();
    let mut last = Vec::new();
    for actor in actors {
        last.push(actor.await.expect("no actor found anything wrong"));
    }
    let under_load = started.elapsed();

    let verdict = settle(&crowd, &mut last).await;
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
    let [to_members, to_rooms] = switches;
    println!("kill test: chats became rooms {to_rooms} times, and stopped being rooms {to_members} times");
    assert!(to_rooms > 0.0 && to_members > 0.0, "both kinds of chat, and both ways between them");
    // What the extra members were owed.
    for name in extras() {
        let mut client = node.connect(&name, "phone").open().await.expect("the node takes a connection");
        client.join(&format!("notifications:{name}")).await;
        last.push(client);
    }
    nothing_is_left(&node).await;
    drop(last);
    assert!(node.terminate().await.success(), "the last life ends in good order");
}

#[expect(clippy::disallowed_methods, reason = "the test's own knob")]
fn seed() -> u64 {
    std::env::var("ROOST_KILL_SEED").map_or_else(|_| rand::random_range(0..1_000_000), |text| text.parse().unwrap())
}

/// What came of all the lives but the last.
struct Lives {
    /// The last one.
    node: Node,
    worst_restart: Duration,
    /// How often a chat stopped being a room, and became one.
    switches: [f64; 2],
}

/// Each life is ended after a time of its own: most in the middle of things, some right after the start, and some of the
/// restarts are killed themselves before they are done.
async fn kill_again_and_again(rng: &mut StdRng, options: &NodeOptions, mut node: Node, crowd: &Crowd) -> Lives {
    let mut worst_restart = Duration::ZERO;
    let mut switches = [0.0; 2];
    let mut killed = 0;
    while killed < KILLS {
        let life = if rng.random_bool(0.2) { rng.random_range(0..50) } else { rng.random_range(300..2200) };
        tokio::time::sleep(Duration::from_millis(life)).await;
        let metrics = node.metrics().await;
        for (count, to) in switches.iter_mut().zip(["members", "room"]) {
            let name = format!("roost_fanout_room_switches_total{{to=\"{to}\"}}");
            *count += metrics.metric(&name).expect("it is counted");
        }
        node.kill_9();
        killed += 1;
        if rng.random_bool(0.15) {
            options.start_and_kill(Duration::from_millis(rng.random_range(1..120))).await;
            killed += 1;
        }
        let started = Instant::now();
        node = options.start().await.expect("the node starts again");
        worst_restart = worst_restart.max(started.elapsed());
        crowd.moved_to(vec![node.address()]);
        switch(rng, &node, crowd).await;
    }
    Lives { node, worst_restart, switches }
}

fn extras() -> impl Iterator<Item = String> {
    (0..EXTRAS).map(|number| format!("extra-{number:02}"))
}

/// Lets the extra members into one chat, or out of it.
async fn switch(rng: &mut StdRng, node: &Node, crowd: &Crowd) {
    let (chat, members) = crowd.members.iter().choose(rng).expect("there are chats");
    let extras: Vec<String> = if rng.random_bool(0.5) { extras().collect() } else { Vec::new() };
    let members: Vec<&str> = members.iter().chain(&extras).map(String::as_str).collect();
    node.create_chat(chat, &members).await;
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
