//! Not a test: numbers for whoever changes this backend. `cargo test --release -p roost-storage --test redis -- --ignored
//! --nocapture throughput`.

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use roost_storage::redis::{Durability, RedisConfig, RedisStorage};

use crate::arrangements::Watched;
use crate::fixture::{config, open};
use crate::samples::{new_chat, said};
use crate::server::{Server, Software};

const SECONDS: u64 = 3;

/// One appender per partition, each with a batch under way at all times, as a gateway under load has.
async fn appends_per_second(store: &RedisStorage, batch: usize) -> u64 {
    let appended = Arc::new(AtomicU64::new(0));
    let log = store.log();
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let appenders: Vec<_> = log
        .partitions()
        .all()
        .map(|partition| {
            let (log, appended) = (log.clone(), appended.clone());
            tokio::spawn(async move {
                let chat =
                    std::iter::repeat_with(new_chat).find(|chat| log.partitions().of(chat) == partition).unwrap();
                while Instant::now() < end {
                    let events: Vec<_> = (0..batch).map(|_| said(&chat, &"x".repeat(100))).collect();
                    let done = log.append(events).await.into_iter().filter(Result::is_ok).count();
                    appended.fetch_add(done as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for appender in appenders {
        appender.await.unwrap();
    }
    appended.load(Ordering::Relaxed) / SECONDS
}

fn unbounded(url: &str, durability: Durability) -> RedisConfig {
    RedisConfig { partition_entries_max: 10_000_000, connections: 4, ..config(url, durability) }
}

async fn measure(name: &str, config: &RedisConfig) {
    for batch in [1, 16, 128] {
        let store = open(config).await.unwrap();
        let rate = appends_per_second(&store, batch).await;
        let stats = store.stats();
        let shared = stats.requests_total as f64 / stats.pipelines_total as f64;
        println!("{name}: batches of {batch}: {rate} appends/s, {shared:.1} requests a pipeline");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints numbers, asserts nothing"]
async fn throughput() {
    for software in [Software::Redis, Software::Valkey] {
        let server = Server::start(software, &["--appendonly", "no"]);
        let url = format!("redis://127.0.0.1:{}", server.port);
        measure(&format!("{software:?} memory"), &unbounded(&url, Durability::Memory)).await;
        let used = server.command("INFO memory");
        println!("{}", used.lines().find(|line| line.starts_with("used_memory_human")).unwrap());
        let server = Server::start(software, &["--appendonly", "yes", "--appendfsync", "always"]);
        let url = format!("redis://127.0.0.1:{}", server.port);
        measure(&format!("{software:?} aof"), &unbounded(&url, Durability::Aof)).await;
        let watched = Watched::start(software);
        measure(&format!("{software:?} replica"), &unbounded(&watched.url(), Durability::Replica)).await;
    }
}
