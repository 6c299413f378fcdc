//! `swarm`: loads a node on this machine and reports rates, latencies, and what they cost the server. A tool for
//! comparing two builds or two servers in one run; it asserts nothing.

mod bare;
mod client;
mod idle;
mod pairs;
mod process;
mod report;
mod room;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use process::Process;
use target::Target;

/// Loads a chat node on this machine. Users and chats are new ones in every run; the node must let a join create a
/// chat (`chats.open_join`), and `gateway.inbound_rate` must allow what is sent.
#[derive(Debug, Parser)]
#[command(name = "swarm", version)]
struct Command {
    /// The socket's base; loopback only.
    #[arg(long, default_value = "ws://127.0.0.1:4000/socket", global = true)]
    url: String,
    /// Signs the tokens: a private RSA key in PEM form (RS256), or else a secret (HS256).
    #[arg(long, default_value = "roost-data/token-private.pem", global = true)]
    key: PathBuf,
    /// The server's process, to report its CPU time and memory.
    #[arg(long, global = true)]
    server_pid: Option<u32>,
    /// How long to load, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=120), global = true)]
    seconds: u64,
    /// The bytes of each message's content.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(24..=4000), global = true)]
    content_bytes: u16,
    /// Report one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Chats of two, both in the room; one of them sends.
    Pairs {
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=2000))]
        chats: u32,
        /// Sends of one chat that may wait for their answer at once.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
        window: u32,
        /// Messages per second over all chats; latencies are then counted from when each was due. Without it each
        /// chat sends as its window allows.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=200_000))]
        rate: Option<u32>,
    },
    /// One sender and many receivers in one room.
    Room {
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=4000))]
        receivers: u32,
        /// Messages per second.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rate: u32,
    },
    /// Connections with a chat and the notification topic joined that say nothing.
    Idle {
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=8000))]
        connections: u32,
    },
}

/// What every scenario is given.
struct Run {
    target: Target,
    server: Option<Process>,
    duration: Duration,
    content_bytes: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    let run = Run {
        target: Target::new(&command.url, &command.key)?,
        server: command.server_pid.map(Process::of),
        duration: Duration::from_secs(command.seconds),
        content_bytes: command.content_bytes.into(),
    };
    let report = match command.scenario {
        Scenario::Pairs { chats, window, rate } => pairs::run(run, chats, window, rate).await?,
        Scenario::Room { receivers, rate } => room::run(run, receivers, rate).await?,
        Scenario::Idle { connections } => idle::run(run, connections).await?,
    };
    report.print(command.json)
}
