//! Readers that wait: each stream's has a connection to itself, since a waiting command holds up all behind it, and a
//! response timeout of its own.
//!
//! A reader that finds another server than it last read from (a new primary, a restarted one) fails once, so that its
//! caller loads its position again: one in memory may point past what that server has, and entries to come would be
//! below it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Value};
use tokio::time::Instant;

use super::error::{Fault, answered};
use super::keys::slot;
use super::lane::count;
use super::records::{self, Entry, stream_id};
use super::router::Router;
use crate::Position;

/// The longest single wait: a server that has vanished without a word is noticed after this and a command's time.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that no reader came back to for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// The readers of one store.
pub(super) struct Readers {
    router: Arc<Router>,
    streams: Mutex<HashMap<String, Stream>>,
}

#[derive(Default)]
struct Stream {
    /// The server last read from.
    run_id: Option<String>,
    /// Between two reads.
    idle: Option<Idle>,
}

struct Idle {
    connection: MultiplexedConnection,
    since: Instant,
}

impl Readers {
    pub(super) fn new(router: Arc<Router>) -> Self {
        Self { router, streams: Mutex::default() }
    }

    /// At most `max` entries of the stream `key` after `after`; waits up to `wait` for the first one. Cancel safe.
    pub(super) async fn read(
        &self,
        key: &str,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<Entry>, Fault> {
        if wait.is_zero() {
            return records::entries(self.router.read(key, xread(key, after, max, None)).await?);
        }
        let deadline = Instant::now() + wait;
        let mut connection = self.connection(key).await?;
        loop {
            // A BLOCK of 0 would wait for ever.
            let left = deadline.saturating_duration_since(Instant::now());
            let block = left.min(WAIT_MAX).max(Duration::from_millis(1));
            connection.set_response_timeout(block + self.router.shared().connector.command_timeout);
            let answer = connection.req_packed_command(&xread(key, after, max, Some(block))).await;
            // On any error the connection is dropped: the next read opens one where the stream is by then.
            let answer = answer.map_err(Fault::of).and_then(answered).inspect_err(|_| self.router.suspect_change())?;
            if answer != Value::Nil || Instant::now() >= deadline {
                self.put_back(key, connection);
                return records::entries(answer);
            }
        }
    }

    async fn connection(&self, key: &str) -> Result<MultiplexedConnection, Fault> {
        let idle = self.streams.lock().expect(LOCK).get_mut(key).and_then(|stream| stream.idle.take());
        if let Some(idle) = idle {
            return Ok(idle.connection);
        }
        let topology = self.router.topology();
        let address = topology.owner(slot(key)).ok_or(Fault::NoPrimary)?;
        let shared = self.router.shared();
        let connected = shared.connector.connect_reader(address).await;
        let (connection, server) = connected.inspect_err(|_| {
            count(&shared.counts.connects_failed);
            self.router.suspect_change();
        })?;
        count(&shared.counts.connects);
        let mut streams = self.streams.lock().expect(LOCK);
        let stream = streams.entry(key.to_owned()).or_default();
        match stream.run_id.replace(server.run_id.clone()) {
            Some(last) if last != server.run_id => {
                stream.idle = Some(Idle { connection, since: Instant::now() });
                Err(Fault::AnotherServer)
            }
            _ => Ok(connection),
        }
    }

    fn put_back(&self, key: &str, connection: MultiplexedConnection) {
        let mut streams = self.streams.lock().expect(LOCK);
        streams.entry(key.to_owned()).or_default().idle = Some(Idle { connection, since: Instant::now() });
        for stream in streams.values_mut() {
            stream.idle.take_if(|idle| idle.since.elapsed() > IDLE_MAX);
        }
    }
}

const LOCK: &str = "the readers' lock is never poisoned";

fn xread(key: &str, after: Position, max: usize, block: Option<Duration>) -> Cmd {
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(max.max(1));
    if let Some(block) = block {
        command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
    }
    command.arg("STREAMS").arg(key).arg(stream_id(after));
    command
}
