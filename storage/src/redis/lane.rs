//! A lane: one connection to one primary, and a task that sends what is queued for it in pipelines.
//!
//! What arrives while a pipeline is under way is the next one, so a round trip and a wait for durability are shared by
//! many writes. The wait closes the pipeline on the connection that wrote: servers count only a connection's own writes.
//! Nothing else uses the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tracing::warn;

use super::config::Durability;
use super::connect::{Connector, Prepared, send};
use super::endpoint::Address;
use super::error::{Fault, answered};
use super::scripts::{Script, load_commands};

/// Requests waiting for one lane; beyond it, callers wait for room.
const QUEUE_MAX: usize = 1024;
/// Requests in one pipeline.
const PIPELINE_MAX: usize = 512;
/// A connection that has been idle for so long is asked whether it still is one, before what could not be repeated
/// without asking the caller is sent over it.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Bytes in one pipeline, beyond its first request.
const PIPELINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One command, for whichever server owns its keys.
pub(super) struct Request {
    /// The slot of its keys.
    pub(super) slot: u16,
    /// What to run.
    pub(super) command: Command,
    /// Whether it writes: then the answer comes when that is durable.
    pub(super) writes: bool,
}

/// What to run.
pub(super) enum Command {
    /// A command of the server's.
    Plain(Cmd),
    /// A script of ours.
    Script {
        /// Which.
        script: Script,
        /// Its keys, all of one slot.
        keys: Vec<String>,
        /// Its arguments.
        arguments: Vec<Vec<u8>>,
    },
}

/// What every lane of a store knows.
pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) counts: Counts,
    /// Woken when who owns what may have changed.
    pub(super) changed: Notify,
}

/// Since the store was opened.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) connects: AtomicU64,
    pub(super) connects_failed: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) pipelines: AtomicU64,
    pub(super) not_durable: AtomicU64,
    pub(super) scripts_reloaded: AtomicU64,
    pub(super) redirects: AtomicU64,
    pub(super) signals_lost: AtomicU64,
    pub(super) evicts: AtomicBool,
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Job {
    request: Arc<Request>,
    /// The slot is on its way to this server: it answers only who asks so.
    asking: bool,
    answer: oneshot::Sender<Result<Value, Fault>>,
}

/// The way to a lane. Its task ends when this is dropped.
pub(super) struct Lane {
    jobs: mpsc::Sender<Job>,
}

impl Lane {
    pub(super) fn start(shared: &Arc<Shared>, address: &Address, writes: bool) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE_MAX);
        let durability = if writes { shared.connector.durability } else { Durability::Memory };
        let (shared, address) = (shared.clone(), address.clone());
        let worker = Worker { shared, address, durability, prepared: None, used: Instant::now() };
        tokio::spawn(worker.run(queue));
        Self { jobs }
    }

    /// The server's answer, or its refusal.
    pub(super) async fn call(&self, request: &Arc<Request>, asking: bool) -> Result<Value, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = Job { request: request.clone(), asking, answer };
        self.jobs.send(job).await.map_err(|_| Fault::Closed)?;
        answered.await.unwrap_or(Err(Fault::Closed))
    }
}

struct Worker {
    shared: Arc<Shared>,
    address: Address,
    durability: Durability,
    prepared: Option<Prepared>,
    used: Instant,
}

impl Worker {
    async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = VecDeque::new();
        let mut received = Vec::with_capacity(PIPELINE_MAX);
        while queue.recv_many(&mut received, PIPELINE_MAX).await > 0 {
            jobs.extend(received.drain(..));
            if let Err(fault) = self.connect().await {
                // Those that came meanwhile, too: each would wait for an attempt of its own.
                while let Ok(job) = queue.try_recv() {
                    jobs.push_back(job);
                }
                jobs.drain(..).for_each(|job| drop(job.answer.send(Err(fault.clone()))));
                continue;
            }
            while !jobs.is_empty() {
                self.send(next_pipeline(&mut jobs)).await;
            }
            self.used = Instant::now();
        }
    }

    async fn connect(&mut self) -> Result<(), Fault> {
        if let Some(prepared) = &mut self.prepared {
            let mut ping = Pipeline::new();
            ping.cmd("PING");
            if self.used.elapsed() < IDLE_MAX || send(&mut prepared.connection, &ping).await.is_ok() {
                return Ok(());
            }
            self.prepared = None;
            self.shared.changed.notify_one();
        }
        let connector = &self.shared.connector;
        // Twice the time: WAIT answers when its own has run out.
        match connector.prepare(&self.address, connector.command_timeout * 2).await {
            Ok(prepared) => {
                count(&self.shared.counts.connects);
                if connector.is_eviction_allowed(&prepared.server) == Some(true) {
                    self.shared.counts.evicts.store(true, Ordering::Relaxed);
                }
                self.prepared = Some(prepared);
                Ok(())
            }
            Err(fault) => {
                count(&self.shared.counts.connects_failed);
                warn!(address = %self.address, error = %chain(&fault), "no connection to redis");
                self.shared.changed.notify_one();
                Err(fault)
            }
        }
    }

    /// Sends one pipeline and answers each of its jobs.
    async fn send(&mut self, jobs: Vec<Job>) {
        match self.exchange(&jobs).await {
            Ok(answers) => {
                for (job, answer) in jobs.into_iter().zip(answers) {
                    // Nobody waits any more when the caller was dropped.
                    let _ = job.answer.send(answered(answer));
                }
            }
            Err(fault) => {
                if !matches!(fault, Fault::NotDurable(_)) {
                    self.prepared = None;
                }
                if fault.suggests_change() {
                    self.shared.changed.notify_one();
                }
                jobs.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
            }
        }
    }

    /// One answer per job, the writes among them durable.
    async fn exchange(&mut self, jobs: &[Job]) -> Result<Vec<Value>, Fault> {
        let mut answers = self.attempt(jobs, None).await?;
        // A script that the server had forgotten has done nothing; the others are not run again.
        let forgotten: Vec<_> = (0..jobs.len()).filter(|n| has_code(&answers[*n], "NOSCRIPT")).collect();
        if !forgotten.is_empty() {
            count(&self.shared.counts.scripts_reloaded);
            let again = self.attempt(jobs, Some(&forgotten)).await?;
            for (n, answer) in forgotten.into_iter().zip(again) {
                answers[n] = answer;
            }
        }
        Ok(answers)
    }

    /// Runs all jobs, or those of `only` behind a reload of the scripts.
    async fn attempt(&mut self, jobs: &[Job], only: Option<&[usize]>) -> Result<Vec<Value>, Fault> {
        let prepared = self.prepared.as_mut().ok_or(Fault::Closed)?;
        let mut pipeline = Pipeline::new();
        let mut wanted = Vec::with_capacity(jobs.len());
        if only.is_some() {
            for command in load_commands() {
                pipeline.add_command(command);
            }
        }
        for n in only.map_or_else(|| (0..jobs.len()).collect(), <[_]>::to_vec) {
            if jobs[n].asking {
                pipeline.add_command(redis::cmd("ASKING"));
            }
            wanted.push(pipeline.len());
            pipeline.add_command(prepared.command(&jobs[n].request.command));
        }
        let (wait, has_waitaof) = (self.shared.connector.command_timeout, prepared.server.has_waitaof);
        let waits = add_wait(&mut pipeline, self.durability, has_waitaof, wait.as_millis());
        count(&self.shared.counts.pipelines);
        self.shared.counts.requests.fetch_add(wanted.len() as u64, Ordering::Relaxed);
        let mut answers = send(&mut prepared.connection, &pipeline).await?;
        if waits && !is_durable(answers.pop().unwrap_or_default())? {
            count(&self.shared.counts.not_durable);
            return Err(Fault::NotDurable(match self.durability {
                Durability::Replica => "no replica has confirmed it in time",
                _ => "the append-only file was not synced in time",
            }));
        }
        Ok(wanted.into_iter().map(|n| std::mem::take(&mut answers[n])).collect())
    }
}

impl Prepared {
    fn command(&self, command: &Command) -> Cmd {
        match command {
            Command::Plain(command) => command.clone(),
            Command::Script { script, keys, arguments } => {
                let mut command = redis::cmd("EVALSHA");
                command.arg(self.digests.of(*script)).arg(keys.len()).arg(keys).arg(arguments);
                command
            }
        }
    }
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Script { arguments, .. } => arguments.iter().map(Vec::len).sum(),
        }
    }
}

fn next_pipeline(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let mut bytes = 0;
    let fits = jobs.iter().take(PIPELINE_MAX).take_while(|job| {
        let first = bytes == 0;
        bytes += job.request.command.bytes();
        first || bytes <= PIPELINE_BYTES_MAX
    });
    let count = fits.count().max(1);
    jobs.drain(..count).collect()
}

/// Adds what makes the writes before it durable, and says whether there is such a command.
fn add_wait(pipeline: &mut Pipeline, durability: Durability, has_waitaof: bool, milliseconds: u128) -> bool {
    let milliseconds = u64::try_from(milliseconds).unwrap_or(u64::MAX);
    match durability {
        Durability::Replica => pipeline.cmd("WAIT").arg(1).arg(milliseconds),
        Durability::Aof if has_waitaof => pipeline.cmd("WAITAOF").arg(1).arg(0).arg(milliseconds),
        _ => return false,
    };
    true
}

/// Whether at least one copy was counted.
fn is_durable(answer: Value) -> Result<bool, Fault> {
    let copies = match answered(answer)? {
        Value::Array(counts) => counts.into_iter().next().unwrap_or_default(),
        count => count,
    };
    Ok(matches!(copies, Value::Int(1..)))
}

pub(super) fn has_code(answer: &Value, code: &str) -> bool {
    matches!(answer, Value::ServerError(error) if error.code() == code)
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
