//! `[scylla]`: where the cluster is, and how it is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::replication::Replication;
use super::tls;
use crate::{Fault, Faults, duration_text};

/// How many copies must answer a read or a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Consistency {
    /// More than half of those in the local datacenter.
    LocalQuorum,
    /// More than half of all.
    Quorum,
    /// One in the local datacenter. A read may then miss what was just written, and a dead node loses it.
    LocalOne,
    /// One anywhere. As `LOCAL_ONE`.
    One,
}

/// `[scylla]`. Durations are written `"3s"`. How long a notification stays pending is `chats.pending_ttl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScyllaConfig {
    /// Nodes to connect to first, `host:port`; without a port, 9042. The others are learned from them. One is enough to
    /// begin with, but then that one must be up.
    pub nodes: Vec<String>,
    /// The keyspace: letters, digits and underscores.
    pub keyspace: String,
    /// Copies of each row, for making the keyspace. See [`Replication`]. Fewer than 3 do not survive a dead node.
    pub replication: Replication,
    /// More of the CREATE KEYSPACE statement, where an engine wants it: `"tablets = {'enabled': false}"`.
    pub keyspace_options: String,
    /// The datacenter requests go to. No others are used.
    pub local_datacenter: String,
    /// How many copies must answer. Less than a quorum loses messages with a node.
    pub consistency: Consistency,
    /// User name, when the cluster asks for one.
    pub username: Option<String>,
    /// The file the password is in, of which a line end at the end is no part.
    pub password_file: Option<PathBuf>,
    /// Certificates, in PEM form, of the authorities the nodes' certificates must be from. Set: TLS is used. The nodes'
    /// certificates must name their IP addresses.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take. Too low: a loaded cluster gets every request twice. Too high: a dead link is
    /// noticed late.
    #[serde(with = "duration_text")]
    pub request_timeout: Duration,
    /// How long connecting to a node may take.
    #[serde(with = "duration_text")]
    pub connect_timeout: Duration,
    /// Requests of this process under way at once. Too low: it waits while the cluster idles. Too high: a burst
    /// overloads the cluster.
    pub concurrency_max: usize,
    /// How long a message stays in the history; `"0s"` is for ever. What is pending of a big room is read from it.
    #[serde(with = "duration_text")]
    pub history_ttl: Duration,
}

impl Default for ScyllaConfig {
    fn default() -> Self {
        Self {
            nodes: vec!["127.0.0.1:9042".into()],
            keyspace: "roost".into(),
            replication: Replication::Factor(3),
            keyspace_options: String::new(),
            local_datacenter: "datacenter1".into(),
            consistency: Consistency::LocalQuorum,
            username: None,
            password_file: None,
            ca_file: None,
            request_timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(3),
            concurrency_max: 256,
            history_ttl: Duration::ZERO,
        }
    }
}

/// The longest time to live the engines take: 20 years.
const TTL_MAX: Duration = Duration::from_hours(20 * 365 * 24);

/// A time to live as the engines take it.
pub(super) fn seconds(ttl: Duration) -> i32 {
    i32::try_from(ttl.min(TTL_MAX).as_secs()).expect("20 years are less than 2^31 seconds")
}

impl ScyllaConfig {
    /// What is wrong with the values by themselves and with each other. Reads no file.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("scylla");
        faults.check("nodes", !self.nodes.is_empty(), "must name at least one node");
        for (index, node) in self.nodes.iter().enumerate() {
            if !is_node(node) {
                faults.add(&format!("nodes[{index}]"), format!("must be host:port, is {node:?}"));
            }
        }
        let named = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !named(&self.keyspace) || !(1..=48).contains(&self.keyspace.len()) {
            let problem = format!("must be 1 to 48 letters, digits and underscores, is {:?}", self.keyspace);
            faults.add("keyspace", problem);
        }
        let datacenter = &self.local_datacenter;
        let one_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if datacenter.is_empty() || !datacenter.bytes().all(one_word) {
            let problem = "must be a datacenter's name: letters, digits, underscores, hyphens and dots";
            faults.add("local_datacenter", format!("{problem}, is {datacenter:?}"));
        }
        faults.check("keyspace_options", !self.keyspace_options.contains(';'), "must not hold a semicolon");
        let both_or_none = self.username.is_some() == self.password_file.is_some();
        faults.check("password_file", both_or_none, "goes with scylla.username: set both or none");
        faults.duration("request_timeout", self.request_timeout, Duration::from_millis(100)..=Duration::from_secs(60));
        faults.duration("connect_timeout", self.connect_timeout, Duration::from_millis(100)..=Duration::from_secs(60));
        faults.number("concurrency_max", self.concurrency_max, 1..=100_000);
        if !self.history_ttl.is_zero() {
            faults.duration("history_ttl", self.history_ttl, Duration::from_secs(60)..=TTL_MAX);
        }
        faults.found()
    }

    /// What is wrong with the files it names.
    pub fn file_faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("scylla");
        if let Some(file) = &self.password_file
            && let Err(problem) = read_password(file)
        {
            faults.add("password_file", problem);
        }
        if let Some(file) = &self.ca_file
            && let Err(problem) = tls::authorities(file)
        {
            faults.add("ca_file", problem);
        }
        faults.found()
    }
}

/// The password, or a sentence.
pub(super) fn read_password(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{} can not be read: {error}", file.display()))?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() { Err(format!("{} is empty", file.display())) } else { Ok(password.to_owned()) }
}

/// A name or address, with or without a port. A bare IPv6 address has no port.
fn is_node(node: &str) -> bool {
    if node.parse::<std::net::SocketAddr>().is_ok() || node.parse::<std::net::IpAddr>().is_ok() {
        return true;
    }
    let (host, port) = node.split_once(':').unwrap_or((node, "9042"));
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(in_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty(change: impl FnOnce(&mut ScyllaConfig)) -> Vec<String> {
        let mut config = ScyllaConfig::default();
        change(&mut config);
        config.faults().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn the_defaults_have_no_fault_and_are_read_back() {
        let config = ScyllaConfig::default();
        assert_eq!(config.faults(), []);
        assert_eq!(config.file_faults(), []);
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["consistency"], "LOCAL_QUORUM");
        assert_eq!(json["history_ttl"], "0s");
        assert_eq!(serde_json::from_value::<ScyllaConfig>(json).unwrap(), config);
    }

    #[test]
    fn every_fault_is_found_with_its_key() {
        assert_eq!(faulty(|config| config.nodes.clear()), ["scylla.nodes"]);
        let odd = ["a:b", "", "a:0", "a b", "scylla-1.internal:9042", "10.0.0.1", "[::1]:9042", "::1", "node"];
        let nodes = faulty(|config| config.nodes = odd.map(Into::into).to_vec());
        assert_eq!(nodes, ["scylla.nodes[0]", "scylla.nodes[1]", "scylla.nodes[2]", "scylla.nodes[3]"]);
        for keyspace in ["", "a-b", "a\"b", &"x".repeat(49)] {
            assert_eq!(faulty(|config| config.keyspace = keyspace.into()), ["scylla.keyspace"]);
        }
        assert_eq!(faulty(|config| config.local_datacenter = "a'b".into()), ["scylla.local_datacenter"]);
        assert_eq!(faulty(|config| config.keyspace_options = "a; b".into()), ["scylla.keyspace_options"]);
        assert_eq!(faulty(|config| config.username = Some("a".into())), ["scylla.password_file"]);
        assert_eq!(faulty(|config| config.password_file = Some("a".into())), ["scylla.password_file"]);
        assert_eq!(faulty(|config| config.request_timeout = Duration::ZERO), ["scylla.request_timeout"]);
        assert_eq!(faulty(|config| config.connect_timeout = Duration::ZERO), ["scylla.connect_timeout"]);
        assert_eq!(faulty(|config| config.concurrency_max = 0), ["scylla.concurrency_max"]);
        assert_eq!(faulty(|config| config.history_ttl = Duration::from_secs(1)), ["scylla.history_ttl"]);
    }

    #[test]
    fn files_that_can_not_be_used_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let mut config = ScyllaConfig {
            password_file: file("password", "\n"),
            ca_file: file("ca.pem", "no certificate"),
            ..ScyllaConfig::default()
        };
        let keys: Vec<_> = config.file_faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["scylla.password_file", "scylla.ca_file"]);
        config.password_file = file("password", "secret word \r\n");
        config.ca_file = Some(dir.path().join("none"));
        let keys: Vec<_> = config.file_faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["scylla.ca_file"]);
        assert_eq!(read_password(&dir.path().join("password")).unwrap(), "secret word ");
    }
}
