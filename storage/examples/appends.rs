//! How many appends per second the embedded store acknowledges, with 256 appenders that each wait for the last one's
//! answer: `cargo run --release -p roost-storage --example appends [DIRECTORY]`. Without a directory a temporary one is
//! used, which may be in memory: the numbers then say nothing about a disk.
#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::{ChatId, DedupeKey, EventBody, NewEvent, UserId};

const APPENDERS: usize = 256;
const RUN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let temporary = tempfile::tempdir().expect("a temporary directory can be made");
    let dir = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), Into::into);
    let opening = Instant::now();
    let config = EmbeddedConfig { partition_entries_max: u64::MAX, ..EmbeddedConfig::new(dir) };
    let embedded = Embedded::open(config).expect("the store opens");
    println!("opened in {:?}", opening.elapsed());

    let (appended, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|n| {
            let (storage, appended) = (embedded.storage(), appended.clone());
            tokio::spawn(async move {
                let chat = ChatId::new(format!("chat{n}")).expect("it is short");
                let sender = UserId::new(format!("user{n}")).expect("it is short");
                while begin.elapsed() < RUN {
                    let body =
                        EventBody::Message { sender: sender.clone(), content: "x".repeat(100).into(), origin: None };
                    let event = NewEvent { chat: chat.clone(), body, dedupe: Some(DedupeKey(rand::random())) };
                    storage.log.append(vec![event]).await.remove(0).expect("it is appended");
                    appended.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.expect("the appender ends");
    }
    let rate = appended.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    let stats = embedded.stats();
    println!("{rate:.0} appends per second, {} syncs for {} writes", stats.syncs_total, stats.writes_total);
    embedded.close().await;
}
