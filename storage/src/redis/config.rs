//! `[redis]`: how the store in Redis is reached, and how it is kept.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::endpoint::{Endpoint, Mode};
use super::files;
use crate::{Fault, Faults, duration_text};

/// When a write counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// When the primary has it in memory. Lost when that server is.
    Memory,
    /// When the primary has it in its append-only file, synced to the disk. Survives `kill -9` and a power failure; not
    /// the loss of the machine. Set `appendfsync always` on the server: with `everysec` each write waits for the next
    /// second's sync where the server can say when that was (`WAITAOF`: Redis 7.2, Valkey), and Redis 7.0, which can
    /// not, is refused.
    Aof,
    /// When at least one replica has it, too (`WAIT 1`). Survives the loss of the primary's machine.
    Replica,
}

/// Where Redis is. Prints everything but the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// Takes any text: [`RedisConfig::faults`] says what is wrong with it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever stands before the last @ may hold a password, also in a text that is no URL.
        let Some((user, place)) = self.0.rsplit_once('@') else { return f.write_str(&self.0) };
        let (scheme, user) = user
            .split_once("://")
            .map_or(("", user), |(_, user)| (&self.0[..self.0.len() - user.len() - 1 - place.len()], user));
        match user.split_once(':') {
            Some((name, _)) => write!(f, "{scheme}{name}:***@{place}"),
            None => write!(f, "{scheme}{user}@{place}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `[redis]`. The dedupe window is `chats.dedupe_window`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Where it is: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or with several `HOST:PORT` separated by commas
    /// `redis-sentinel://…/MASTER[/DATABASE]` or `redis-cluster://…`. `rediss://`, `rediss-sentinel://` and
    /// `rediss-cluster://` use TLS.
    pub url: RedisUrl,

    /// File that holds the password, instead of the URL. Read at start.
    pub password_file: Option<PathBuf>,

    /// File that holds the Sentinels' password, when they have one. Read at start.
    pub sentinel_password_file: Option<PathBuf>,

    /// File that holds the certificates (PEM) by which a TLS server is believed. Unset: those of the system.
    pub ca_file: Option<PathBuf>,

    /// When a write counts as done: `memory`, `aof` or `replica`.
    pub durability: Durability,

    /// How many partitions the event log has. Fixed when the store is made. Too few: fanout nodes beyond that many have
    /// nothing to do. Too many: each costs every gateway and fanout a little.
    pub partitions: NonZeroU16,

    /// What every key begins with, so that several clusters can share a server.
    pub key_prefix: String,

    /// Entries a partition may hold above its cursor. Too low: a short pause of fanout refuses messages. Too high: a
    /// long one fills the server's memory.
    pub partition_entries_max: u64,

    /// Entries a mailbox may hold unconfirmed. Too low: slow connections turn messages into pending rows. Too high:
    /// they fill the server's memory.
    pub mailbox_entries_max: u64,

    /// How long a command may take, and as long again the wait for its durability. Too low: a busy server looks dead.
    /// Too high: a dead one is noticed late.
    #[serde(with = "duration_text")]
    pub command_timeout: Duration,

    /// Connections for writing to each primary, and half as many for reading; a waiting reader has one of its own. Too
    /// few: writes wait for each other's durability. Too many: fewer of them share a round trip.
    pub connections: usize,

    /// An eviction policy other than `noeviction` that is accepted, by its name. The server may then delete messages.
    pub allow_eviction_policy: Option<String>,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: RedisUrl::new("redis://127.0.0.1:6379"),
            password_file: None,
            sentinel_password_file: None,
            ca_file: None,
            durability: Durability::Aof,
            partitions: NonZeroU16::new(64).expect("64 is not 0"),
            key_prefix: "roost:".to_owned(),
            partition_entries_max: 100_000,
            mailbox_entries_max: 100_000,
            command_timeout: Duration::from_secs(2),
            connections: 4,
            allow_eviction_policy: None,
        }
    }
}

impl RedisConfig {
    /// What is wrong with the values by themselves and with each other. Reads no file.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("redis");
        match Endpoint::parse(self.url.as_str()) {
            Ok(endpoint) => self.check_endpoint(&endpoint, &mut faults),
            Err(problem) => faults.add("url", problem),
        }
        let prefix = &self.key_prefix;
        let plain = prefix.len() <= 64 && prefix.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '{' | '}'));
        faults.check("key_prefix", plain, "must be at most 64 visible ASCII characters without braces");
        let entries = |value| usize::try_from(value).unwrap_or(usize::MAX);
        faults.number("partition_entries_max", entries(self.partition_entries_max), 100..=100_000_000);
        faults.number("mailbox_entries_max", entries(self.mailbox_entries_max), 100..=100_000_000);
        faults.duration("command_timeout", self.command_timeout, Duration::from_millis(50)..=Duration::from_secs(60));
        faults.number("connections", self.connections, 1..=64);
        faults.number("partitions", self.partitions.get().into(), 1..=4096);
        if let Some(policy) = &self.allow_eviction_policy {
            faults.check("allow_eviction_policy", policy != "noeviction", "names the policy that needs no allowance");
        }
        faults.found()
    }

    /// What is wrong with the files it names.
    pub fn file_faults(&self) -> Vec<Fault> {
        files::faults(self)
    }

    fn check_endpoint(&self, endpoint: &Endpoint, faults: &mut Faults) {
        let twice = endpoint.password.is_some() && self.password_file.is_some();
        faults.check("password_file", !twice, "the password is in redis.url already");
        faults.check("ca_file", endpoint.tls || self.ca_file.is_none(), "redis.url does not use TLS");
        let sentinels = matches!(endpoint.mode, Mode::Sentinel { .. }) || self.sentinel_password_file.is_none();
        faults.check("sentinel_password_file", sentinels, "redis.url names no Sentinels");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(RedisConfig::default().faults(), []);
    }

    #[test]
    fn a_password_is_never_printed() {
        for (url, printed) in [
            ("redis://user:secret@h:1/2", "redis://user:***@h:1/2"),
            ("redis://:secret@h", "redis://:***@h"),
            ("redis://user:s@cr:et@h", "redis://user:***@h"),
            ("user:secret@h", "user:***@h"),
            ("redis://user@h", "redis://user@h"),
            ("redis-cluster://a:1,b:2", "redis-cluster://a:1,b:2"),
        ] {
            let config = RedisConfig { url: RedisUrl::new(url), ..RedisConfig::default() };
            assert_eq!(config.url.to_string(), printed);
            assert!(!format!("{config:?}").contains("cr:et") && !format!("{config:?}").contains("secret"));
            assert_eq!(serde_json::to_value(&config).unwrap()["url"], printed);
        }
    }

    #[test]
    fn files_that_can_not_be_used_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, good) = (dir.path().join("empty"), dir.path().join("good"));
        std::fs::write(&empty, "\n").unwrap();
        std::fs::write(&good, "secret\n").unwrap();
        let config = RedisConfig {
            password_file: Some(empty),
            sentinel_password_file: Some(good),
            ca_file: Some(dir.path().join("none")),
            ..RedisConfig::default()
        };
        let faults = config.file_faults();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["redis.password_file", "redis.ca_file"]);
        assert!(!faults.iter().any(|fault| fault.problem.contains("secret")));
    }

    #[test]
    fn every_fault_names_its_key() {
        let config = RedisConfig {
            url: RedisUrl::new("redis://u:p@h"),
            password_file: Some("p".into()),
            sentinel_password_file: Some("p".into()),
            ca_file: Some("ca".into()),
            key_prefix: "a{b".into(),
            partition_entries_max: 1,
            mailbox_entries_max: 1,
            command_timeout: Duration::ZERO,
            connections: 0,
            allow_eviction_policy: Some("noeviction".into()),
            ..RedisConfig::default()
        };
        let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(
            keys,
            [
                "redis.password_file",
                "redis.ca_file",
                "redis.sentinel_password_file",
                "redis.key_prefix",
                "redis.partition_entries_max",
                "redis.mailbox_entries_max",
                "redis.command_timeout",
                "redis.connections",
                "redis.allow_eviction_policy",
            ]
        );
        let config = RedisConfig { url: RedisUrl::new("http://h"), ..RedisConfig::default() };
        assert_eq!(config.faults()[0].key, "redis.url");
    }
}
