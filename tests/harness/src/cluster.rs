//! A whole cluster: real gateways and fanouts as child processes of the built binary, all with one configuration file, on
//! one Redis and one Cassandra.
//!
//! ```no_run
//! # use roost_harness::cluster::{ClusterOptions, Servers};
//! # async fn example() {
//! let cluster = ClusterOptions::new("target/debug/roost", Servers::shared()).start().await;
//! let (here, there, fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
//! here.create_chat("c1", &["ann", "bob"]).await;
//! let ann = here.connect("ann", "phone").open().await.expect("connected");
//! there.process.kill_9();
//! # }
//! ```

mod member;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cassandra::{Cassandra, network};
use crate::redis::{self, SINGLE, Server, Software};
use crate::{Process, StartFailure, eventually};

pub use member::{Fanout, Gateway};

/// How many partitions a cluster has: enough that each of a few fanouts is sure to get some, wherever they fall.
pub const PARTITIONS: usize = 32;

/// What a cluster stands on. Clusters share it: each has a keyspace and a key prefix of its own.
#[derive(Debug)]
pub struct Servers {
    /// Loses nothing that it has acknowledged when it is killed.
    pub redis: Server,
    /// One node. What was answered survives `kill -9`.
    pub cassandra: Cassandra,
}

impl Servers {
    /// Starts servers for a test that stops or kills them.
    ///
    /// # Errors
    /// A sentence, naming `make tools` when there is no Cassandra.
    ///
    /// # Panics
    /// When there is no Valkey, naming `make tools`.
    pub fn start() -> Result<Self, String> {
        let redis = Server::start(Software::Valkey, SINGLE);
        let cassandra = Cassandra::start(network(), 1, &["--sync", "batch"])?;
        Ok(Self { redis, cassandra })
    }

    /// Those of this process, started by the first who asks. They stop when the process ends.
    ///
    /// # Panics
    /// When they can not be started: with the same sentence for everyone.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Servers, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().unwrap_or_else(|problem| panic!("{problem}"))
    }
}

/// How a cluster is made.
#[derive(Debug, Clone)]
pub struct ClusterOptions<'a> {
    binary: PathBuf,
    servers: PhantomData<&'a Servers>,
    redis_port: u16,
    settings: BTreeMap<String, Value>,
}

impl<'a> ClusterOptions<'a> {
    /// Runs `binary` (pass `env!("CARGO_BIN_EXE_roost")`) on `servers`. Leases are short, so that tests need not wait
    /// long for a dead process to be noticed, and there are [`PARTITIONS`].
    pub fn new(binary: impl Into<PathBuf>, servers: &'a Servers) -> Self {
        let name = format!("t{:016x}", rand::random::<u64>());
        let settings = [
            ("gateway.listen", json!("127.0.0.1:0")),
            ("gateway.api_listen", json!("127.0.0.1:0")),
            ("gateway.lease_ttl", json!("4s")),
            ("gateway.drain_interval", json!("100ms")),
            ("fanout.api_listen", json!("127.0.0.1:0")),
            ("fanout.lease_ttl", json!("4s")),
            ("fanout.lease_renew_interval", json!("1s")),
            ("fanout.acquire_interval", json!("100ms")),
            ("fanout.reaper_interval", json!("250ms")),
            ("fanout.retry_wait_max", json!("500ms")),
            ("redis.url", json!(servers.redis.url())),
            ("redis.key_prefix", json!(format!("{name}:"))),
            ("redis.partitions", json!(PARTITIONS)),
            ("scylla.nodes", json!(servers.cassandra.nodes())),
            ("scylla.keyspace", json!(name)),
            ("scylla.replication", json!(1)),
        ];
        let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { binary: binary.into(), servers: PhantomData, redis_port: servers.redis.port, settings }
    }

    /// On a Redis of its own, which may be killed and started again meanwhile.
    #[must_use]
    pub fn on_redis(mut self, redis: &Server) -> Self {
        self.redis_port = redis.port;
        self.set("redis.url", redis.url())
    }

    /// Sets a configuration key, as `gateway.idle_timeout`: a text, a number, a bool, or a list of texts.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// Writes the configuration file and the keys it names, and runs `roost migrate`.
    ///
    /// # Panics
    /// When the migration fails.
    pub async fn start(&self) -> Cluster<'a> {
        let cluster = self.unmigrated();
        let migrated = cluster.place.command("migrate").output().expect("the binary can be started");
        assert!(migrated.status.success(), "roost migrate failed: {}", String::from_utf8_lossy(&migrated.stderr));
        cluster
    }

    /// Only writes the configuration file and the keys it names.
    pub fn unmigrated(&self) -> Cluster<'a> {
        let key_prefix = self.settings["redis.key_prefix"].as_str().expect("a prefix is text").to_owned();
        let place = Arc::new(Place::new(&self.binary, &self.settings));
        Cluster { servers: PhantomData, redis_port: self.redis_port, key_prefix, place }
    }
}

/// A migrated keyspace and a configuration, which gateways and fanouts can be started on, any number of each.
#[derive(Debug)]
pub struct Cluster<'a> {
    servers: PhantomData<&'a Servers>,
    redis_port: u16,
    key_prefix: String,
    place: Arc<Place>,
}

impl Cluster<'_> {
    /// Starts a gateway and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn gateway(&self) -> Gateway {
        Gateway::start(&self.place).await
    }

    /// Starts a fanout and waits until it is ready.
    ///
    /// # Panics
    /// When it ends instead.
    pub async fn fanout(&self) -> Fanout {
        Fanout::start(&self.place).await
    }

    /// Starts a role that must end by itself, and returns how it did.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn refused(&self, role: &str) -> StartFailure {
        let log = self.place.log(role);
        let status = Process::start(self.place.command(role), &log).ended().await;
        StartFailure { status, stderr: std::fs::read_to_string(&log).expect("it has a log") }
    }

    /// A token that every gateway accepts.
    pub fn token(&self, user: &str, device: &str) -> String {
        self.place.token(user, device)
    }

    /// Waits until every accepted message is where it belongs: in a mailbox, or stored for those who are away.
    ///
    /// # Panics
    /// When some are not in time.
    pub async fn everything_is_routed(&self) {
        self.is_empty("{p*}log").await;
    }

    /// Waits until nothing is in a mailbox, either: whatever was pushed is confirmed, and the mailboxes of dead gateways
    /// are drained.
    ///
    /// # Panics
    /// When something is left.
    pub async fn everything_is_delivered(&self) {
        self.everything_is_routed().await;
        self.is_empty("{gw:*}mailbox").await;
    }

    /// Gateways that are alive, or dead and not reaped yet.
    pub fn known_gateways(&self) -> usize {
        self.redis(&format!("SCARD {}{{gateways}}", self.key_prefix)).parse().expect("a count is a number")
    }

    async fn is_empty(&self, streams: &str) {
        eventually(&format!("every {streams} is empty"), async || {
            let streams = self.redis(&format!("KEYS {}{streams}", self.key_prefix));
            let left = |stream: &str| self.redis(&format!("XLEN {stream}")) != "0";
            (!streams.lines().any(left)).then_some(())
        })
        .await;
    }

    fn redis(&self, command: &str) -> String {
        let answer = redis::ask(self.redis_port, None, command).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(!answer.starts_with('-'), "{command}: {answer}");
        answer
    }
}

/// The files of a cluster, and the binary that runs on them.
#[derive(Debug)]
struct Place {
    binary: PathBuf,
    directory: TempDir,
    api_key: String,
    /// Processes started, to tell their logs apart.
    started: AtomicUsize,
}

impl Place {
    fn new(binary: &Path, settings: &BTreeMap<String, Value>) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let secret = || format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        let place = Self { binary: binary.to_owned(), directory, api_key: secret(), started: AtomicUsize::new(0) };
        write(&place.path("token.secret"), &secret());
        write(&place.path("api.key"), &place.api_key);
        let mut file = String::new();
        for (key, value) in settings {
            // A text, a number, a bool and a list look the same in JSON and in TOML.
            file.push_str(&format!("{key} = {value}\n"));
        }
        file.push_str(&format!("gateway.api_key_file = {}\n", json!(place.path("api.key"))));
        let secret = json!(place.path("token.secret"));
        file.push_str(&format!("auth.keys = [{{ algorithm = \"HS256\", file = {secret} }}]\n"));
        write(&place.path("roost.toml"), &file);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Nothing of the environment is handed on.
    fn command(&self, role: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().current_dir(self.directory.path());
        command.arg(role).arg("--config").arg(self.path("roost.toml"));
        command
    }

    fn log(&self, role: &str) -> PathBuf {
        self.path(&format!("{role}-{}.log", self.started.fetch_add(1, Ordering::Relaxed) + 1))
    }

    fn token(&self, user: &str, device: &str) -> String {
        crate::node::print_token(self.command("token").args(["--user", user, "--device", device]))
    }
}

/// A file that only its owner may read, as keys must be.
fn write(path: &Path, text: &str) {
    let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("a file can be written");
}
