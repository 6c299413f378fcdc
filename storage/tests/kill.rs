//! `kill -9` in the middle of writing: everything that was acknowledged is there when the store is opened again.
//!
//! The test runs this same binary as the process to be killed: the ignored test below, told on its standard input
//! where its store is.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::{ChatId, EventBody, Message, NewEvent, PendingKey, Position, Sequence, UserId};

const WRITERS: usize = 16;
const ACKNOWLEDGED_BEFORE_KILL: usize = 2000;

fn open(dir: &Path) -> Embedded {
    Embedded::open(EmbeddedConfig::new(dir)).unwrap()
}

/// Each writer appends to its chat and stores the same as pending of its user, then says so.
async fn write_for_ever(embedded: &Embedded, writer: usize) {
    let storage = embedded.storage();
    let chat = ChatId::new(format!("chat{writer}")).unwrap();
    let user = UserId::new(format!("user{writer}")).unwrap();
    loop {
        let body = EventBody::Message { sender: user.clone(), content: "x".repeat(200).into(), origin: None };
        let event = NewEvent { chat: chat.clone(), body, dedupe: None };
        let sequence = storage.log.append(vec![event]).await.remove(0).unwrap().sequence;
        let message = Message { chat: chat.clone(), sequence, sender: user.clone(), content: "y".into() };
        storage.pending.put(&[(user.clone(), message)]).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {writer} {sequence}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the other test kills"]
async fn the_process_to_be_killed() {
    let mut dir = String::new();
    std::io::stdin().read_line(&mut dir).unwrap();
    if dir.trim().is_empty() {
        return;
    }
    let embedded = std::sync::Arc::new(open(Path::new(dir.trim())));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let embedded = embedded.clone();
            tokio::spawn(async move { write_for_ever(&embedded, writer).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

fn start(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_to_be_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", dir.display()).unwrap();
    child
}

/// Kills the process once it has acknowledged enough, and returns everything it acknowledged.
fn kill_in_the_middle(dir: &Path) -> BTreeSet<(usize, Sequence)> {
    let mut child = start(dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = BTreeSet::new();
    for line in lines {
        let mut words = line.split(' ');
        // A line that the kill cut short is no acknowledgement, and one without the word is the test harness's.
        let (Some("acknowledged"), Some(writer), Some(sequence)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(sequence) = sequence.parse::<u64>() else { continue };
        acknowledged.insert((writer.parse().unwrap(), Sequence(sequence)));
        if acknowledged.len() == ACKNOWLEDGED_BEFORE_KILL {
            child.kill().unwrap();
        }
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was killed");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for _ in 0..2 {
        acknowledged.extend(kill_in_the_middle(dir.path()));
    }
    assert!(acknowledged.len() >= 2 * ACKNOWLEDGED_BEFORE_KILL);

    let storage = open(dir.path()).storage();
    let (mut logged, mut per_chat) = (BTreeSet::new(), vec![Vec::new(); WRITERS]);
    for partition in storage.log.partitions().all() {
        let entries = storage.log.read(partition, Position::START, usize::MAX, Duration::ZERO).await.unwrap();
        for entry in entries {
            let writer: usize = entry.event.chat.as_str().trim_start_matches("chat").parse().unwrap();
            logged.insert((writer, entry.event.sequence));
            per_chat[writer].push((entry.previous, entry.event.sequence));
        }
    }
    assert_eq!(acknowledged.difference(&logged).count(), 0, "every acknowledged append is in the log");
    for chain in per_chat {
        assert!(chain.windows(2).all(|pair| pair[1].0 == Some(pair[0].1)), "no chat has a gap");
    }
    for writer in 0..WRITERS {
        let user = UserId::new(format!("user{writer}")).unwrap();
        let page = storage.pending.page(&user, None, usize::MAX).await.unwrap();
        let stored: BTreeSet<_> = page.messages.iter().map(|row| PendingKey::of(row).sequence).collect();
        let expected = acknowledged.iter().filter(|(by, _)| *by == writer).map(|(_, sequence)| *sequence);
        assert!(expected.into_iter().all(|sequence| stored.contains(&sequence)), "every acknowledged row is pending");
        assert_eq!(storage.pending.count(&user).await.unwrap(), stored.len() as u64);
    }
}
