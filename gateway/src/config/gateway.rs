//! `[gateway]`: where it listens, and every limit of its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use roost_storage::{Fault, Faults, duration_text};
use serde::{Deserialize, Serialize};

use crate::handshake::OriginPattern;

/// `[gateway]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Address of the public listener, for clients. Port 0 takes a free one.
    pub listen: SocketAddr,

    /// Address of the internal listener: HTTP API, `/metrics`, `/livez`, `/readyz`. Keep it away from the public.
    pub api_listen: SocketAddr,

    /// File that holds the HTTP API's bearer key. Standalone makes `api.key` in its data directory when unset.
    pub api_key_file: Option<PathBuf>,

    /// Which pages may connect, as Phoenix's `check_origin` lists them: `"//example.com"`, `"https://*.example.com"`.
    /// Empty: no check. Requests without an `Origin`, which is every client but a browser, always pass.
    pub origins: Vec<String>,

    /// How long a connection may send nothing. Too low: clients that heartbeat every 30 s (phoenix.js) are closed while
    /// they are well. Too high: dead connections are kept, and their users look reachable for that long.
    #[serde(with = "duration_text")]
    pub idle_timeout: Duration,

    /// From accepting a socket to the end of its handshake. Too low: slow mobile networks can not connect. Too high:
    /// sockets that never say anything hold places of `connections_max`.
    #[serde(with = "duration_text")]
    pub handshake_timeout: Duration,

    /// Largest message a client may send, in bytes, fragments put together. Too low: long messages close the connection
    /// with 1009; it must hold `chats.content_bytes_max` with its JSON escapes. Too high: each connection may make the
    /// gateway hold that much.
    pub frame_bytes_max: usize,

    /// Most open connections of this gateway. Further ones are refused with 503. Too low: clients are turned away while
    /// there is room. Too high: memory (each may hold `outbound_bytes_max`) or file descriptors run out, and every
    /// connection suffers instead of the last one. 10000 fits a small machine: about 20 KiB each when idle, and a drain
    /// in the default pace takes 20 s of the 30 s it has.
    pub connections_max: usize,

    /// Frames per second that one connection may send on average; twice as many at once. Beyond it the connection is read
    /// more slowly; nothing is refused. Too low: an app that sends its joins in one go is held up. Too high: one client
    /// can keep a core busy.
    pub inbound_rate: u32,

    /// Most topics one connection may have joined. Too low: users in many chats can not open them all. Too high: one
    /// connection costs that many entries in the session registry, written on every join.
    pub topics_max: usize,

    /// Most bytes waiting to be written to one connection. Past it the client is too slow: it is closed and what it did
    /// not confirm becomes pending. Too low: a burst closes healthy clients. Too high: slow clients eat the memory
    /// (times `connections_max` at worst).
    pub outbound_bytes_max: usize,

    /// How long a client may take to confirm what it was sent (a Pong). After it the connection is closed and the
    /// unconfirmed becomes pending. Too low: clients on slow networks are closed. Too high: messages for a client that
    /// vanished wait that long before another device or a reconnect gets them as pending.
    #[serde(with = "duration_text")]
    pub confirm_timeout: Duration,

    /// Sends of one connection that wait for durability at once; its next frame is read when one is answered. Too low:
    /// a client that sends in bulk waits a disk write for each. Too high: one client fills the append queue.
    pub sends_in_flight_max: usize,

    /// Mailbox entries read ahead of the oldest one that is not confirmed yet. Too low: one slow client holds up the
    /// delivery to all others of this gateway. Too high: memory, and that many are delivered again after a crash.
    pub mailbox_window: usize,

    /// How often it is stored how far connected members of chats in room mode have got. Too low: a write for each such
    /// member and chat each time. Too high: after a crash what was confirmed since comes again.
    #[serde(with = "duration_text")]
    pub cursor_interval: Duration,

    /// How long a shutdown (SIGTERM) may take in all. Too low: connections are cut before what they have not confirmed
    /// is stored; nothing is lost, but it is delivered later and perhaps twice. Too high: deployments are slow.
    #[serde(with = "duration_text")]
    pub drain_timeout: Duration,

    /// Connections closed at once while draining. Too low: the drain does not end within `drain_timeout`. Too high: that
    /// many clients reconnect elsewhere in the same moment.
    pub drain_batch: usize,

    /// Time between two such batches. Too low or too high: as `drain_batch` too high or too low.
    #[serde(with = "duration_text")]
    pub drain_interval: Duration,

    /// How long the other nodes believe in this gateway without hearing from it. When they do not any more, and one has
    /// taken over, it closes every connection; while nobody can (the storage is away) it keeps them. Too low: a pause (a
    /// slow disk, a busy machine) is enough for that. Too high: after a crash, messages for its users
    /// wait that long before they become pending.
    #[serde(with = "duration_text")]
    pub lease_ttl: Duration,

    /// Language of a connection that names none.
    pub preferred_language: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4000)),
            api_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4001)),
            api_key_file: None,
            origins: Vec::new(),
            idle_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            frame_bytes_max: 64 * 1024,
            connections_max: 10_000,
            inbound_rate: 100,
            topics_max: 100,
            outbound_bytes_max: 1024 * 1024,
            confirm_timeout: Duration::from_secs(30),
            sends_in_flight_max: 64,
            mailbox_window: 10_000,
            cursor_interval: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            drain_batch: 500,
            drain_interval: Duration::from_secs(1),
            lease_ttl: Duration::from_secs(10),
            preferred_language: "EN".into(),
        }
    }
}

/// Shortest and longest of any timeout: short enough for tests, and no typing error passes for a long one.
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_hours(24);

impl GatewayConfig {
    /// What is wrong with the values by themselves and with each other.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("gateway");
        self.value_faults(&mut faults);
        self.relation_faults(&mut faults);
        faults.found()
    }

    fn value_faults(&self, faults: &mut Faults) {
        for (key, value) in [
            ("idle_timeout", self.idle_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("confirm_timeout", self.confirm_timeout),
            ("drain_timeout", self.drain_timeout),
        ] {
            faults.duration(key, value, TIMEOUT_MIN..=TIMEOUT_MAX);
        }
        faults.duration("drain_interval", self.drain_interval, Duration::ZERO..=Duration::from_secs(60));
        faults.duration("cursor_interval", self.cursor_interval, Duration::from_millis(10)..=Duration::from_secs(3600));
        faults.duration("lease_ttl", self.lease_ttl, Duration::from_millis(100)..=Duration::from_secs(600));
        faults.number("frame_bytes_max", self.frame_bytes_max, 1024..=8_000_000);
        faults.number("connections_max", self.connections_max, 1..=10_000_000);
        let inbound_rate = usize::try_from(self.inbound_rate).unwrap_or(usize::MAX);
        faults.number("inbound_rate", inbound_rate, 1..=1_000_000);
        faults.number("topics_max", self.topics_max, 1..=100_000);
        faults.number("outbound_bytes_max", self.outbound_bytes_max, 4096..=1 << 30);
        faults.number("sends_in_flight_max", self.sends_in_flight_max, 1..=10_000);
        faults.number("mailbox_window", self.mailbox_window, 1..=10_000_000);
        faults.number("drain_batch", self.drain_batch, 1..=10_000_000);
        let is_language = is_language_tag(&self.preferred_language);
        faults.check("preferred_language", is_language, "must be a language tag such as EN or pt-BR");
        for pattern in &self.origins {
            if let Err(invalid) = pattern.parse::<OriginPattern>() {
                faults.add("origins", invalid.to_string());
            }
        }
        if let Some(file) = &self.api_key_file {
            faults.check("api_key_file", !file.as_os_str().is_empty(), "must name a file");
        }
    }

    fn relation_faults(&self, faults: &mut Faults) {
        if self.listen == self.api_listen && self.listen.port() != 0 {
            faults.add("api_listen", "is the same address as gateway.listen");
        }
    }
}

/// Whether a text looks like a language tag: `EN`, `pt-BR`, `zh_Hant`.
pub(crate) fn is_language_tag(text: &str) -> bool {
    (1..=35).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &GatewayConfig) -> Vec<String> {
        config.faults().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(GatewayConfig::default().faults(), []);
    }

    #[test]
    fn every_limit_is_checked_and_all_are_named_at_once() {
        let config = GatewayConfig {
            idle_timeout: Duration::ZERO,
            handshake_timeout: Duration::ZERO,
            confirm_timeout: Duration::ZERO,
            drain_timeout: Duration::MAX,
            drain_interval: Duration::from_secs(61),
            cursor_interval: Duration::ZERO,
            lease_ttl: Duration::ZERO,
            frame_bytes_max: 0,
            connections_max: 0,
            inbound_rate: 0,
            topics_max: 0,
            outbound_bytes_max: 0,
            sends_in_flight_max: 0,
            mailbox_window: 0,
            drain_batch: 0,
            preferred_language: "E N".into(),
            api_key_file: Some(PathBuf::new()),
            origins: vec!["//fine.example".into(), "example.com".into(), "*".into()],
            ..GatewayConfig::default()
        };
        let expected = [
            "idle_timeout",
            "handshake_timeout",
            "confirm_timeout",
            "drain_timeout",
            "drain_interval",
            "cursor_interval",
            "lease_ttl",
            "frame_bytes_max",
            "connections_max",
            "inbound_rate",
            "topics_max",
            "outbound_bytes_max",
            "sends_in_flight_max",
            "mailbox_window",
            "drain_batch",
            "preferred_language",
            "origins",
            "origins",
            "api_key_file",
        ];
        assert_eq!(keys(&config), expected.map(|key| format!("gateway.{key}")));
    }

    #[test]
    fn the_listeners_must_differ() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 4000));
        let same = GatewayConfig { api_listen: address, ..GatewayConfig::default() };
        assert_eq!(keys(&same), ["gateway.api_listen"]);

        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        assert_eq!(keys(&GatewayConfig { listen: any, api_listen: any, ..GatewayConfig::default() }), [""; 0]);
    }
}
