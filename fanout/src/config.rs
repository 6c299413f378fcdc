//! Fanout's part of the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use roost_storage::{Fault, Faults, duration_text};
use serde::{Deserialize, Serialize};

/// How fanout reads, routes and reaps. Durations are written `"10s"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FanoutConfig {
    /// Address of the internal listener of a fanout that is a process of its own: `/metrics`, `/livez`, `/readyz`. Port 0
    /// takes a free one.
    pub api_listen: SocketAddr,
    /// How long a partition's lease, an announcement and a reaper's claim live without renewal. Too low: a slow call
    /// loses the partition. Too high: a dead fanout's partitions wait that long.
    #[serde(with = "duration_text")]
    pub lease_ttl: Duration,
    /// How often they are renewed; at most half of `lease_ttl`. Too low: needless writes. Too high: one failed renewal
    /// loses the lease.
    #[serde(with = "duration_text")]
    pub lease_renew_interval: Duration,
    /// How often a partition that another worker holds is asked for. Too low: needless calls. Too high: a hand-over
    /// takes longer.
    #[serde(with = "duration_text")]
    pub acquire_interval: Duration,
    /// Events read at once. Too low: fewer share one commit. Too high: more is repeated after a crash, and a mailbox
    /// with less room than that refuses.
    pub batch_max: usize,
    /// How long one read waits for the first event. Too low: an idle partition costs calls. Too high: nothing breaks,
    /// but some backends answer a stop later.
    #[serde(with = "duration_text")]
    pub read_wait: Duration,
    /// First wait after the storage was unavailable, or a mailbox full.
    #[serde(with = "duration_text")]
    pub retry_wait_min: Duration,
    /// Longest such wait. Too low: hammers a backend that comes back. Too high: delivery resumes late.
    #[serde(with = "duration_text")]
    pub retry_wait_max: Duration,
    /// Chats with more members than this are in room mode: one mailbox entry for each gateway that follows the chat, and
    /// what is pending is read from history. They leave it at half of that. Too low: small chats pay a cursor for each
    /// member who is connected. Too high: each message of a large chat costs a look-up for each member, and a row for
    /// each who is away.
    pub room_above: usize,
    /// Members in all cached chats of this process, about 50 bytes each. Too low: members are read again and again. Too
    /// high: memory.
    pub members_cache_max: usize,
    /// Messages times members routed in one go (one message at least). Too low: more look-ups. Too high: memory, about
    /// 100 bytes each.
    pub obligations_max: usize,
    /// Users in one look-up, members in one page. Too low: more round trips. Too high: long scripts block the backend.
    pub look_up_max: usize,
    /// Storage calls one partition has under way at once. Too low: many gateways take long. Too high: crowds out others.
    pub concurrency_max: usize,
    /// How often dead gateways are looked for; one must be seen dead twice. Too low: needless calls. Too high: what was
    /// on a dead gateway stays there longer.
    #[serde(with = "duration_text")]
    pub reaper_interval: Duration,
    /// How long a batch may go on after a stop. Too low: it is repeated by the next worker. Too high: stopping is slow.
    #[serde(with = "duration_text")]
    pub stop_timeout: Duration,
}

impl Default for FanoutConfig {
    fn default() -> Self {
        Self {
            api_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4001)),
            lease_ttl: Duration::from_secs(10),
            lease_renew_interval: Duration::from_secs(3),
            acquire_interval: Duration::from_millis(500),
            batch_max: 256,
            read_wait: Duration::from_secs(1),
            retry_wait_min: Duration::from_millis(50),
            retry_wait_max: Duration::from_secs(5),
            room_above: 64,
            members_cache_max: 1_000_000,
            obligations_max: 65_536,
            look_up_max: 512,
            concurrency_max: 16,
            reaper_interval: Duration::from_secs(1),
            stop_timeout: Duration::from_secs(5),
        }
    }
}

impl FanoutConfig {
    /// Everything wrong with it, relations between values included.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("fanout");
        let (least, hour) = (Duration::from_millis(1), Duration::from_secs(3600));
        for (key, value) in [
            ("lease_ttl", self.lease_ttl),
            ("lease_renew_interval", self.lease_renew_interval),
            ("acquire_interval", self.acquire_interval),
            ("read_wait", self.read_wait),
            ("retry_wait_min", self.retry_wait_min),
            ("retry_wait_max", self.retry_wait_max),
            ("reaper_interval", self.reaper_interval),
        ] {
            faults.duration(key, value, least..=hour);
        }
        faults.duration("stop_timeout", self.stop_timeout, Duration::ZERO..=hour);
        faults.number("batch_max", self.batch_max, 1..=10_000);
        faults.number("room_above", self.room_above, 0..=1_000_000_000);
        faults.number("members_cache_max", self.members_cache_max, 0..=1_000_000_000);
        faults.number("obligations_max", self.obligations_max, 1..=10_000_000);
        faults.number("look_up_max", self.look_up_max, 1..=100_000);
        faults.number("concurrency_max", self.concurrency_max, 1..=10_000);
        let renewed_in_time = self.lease_renew_interval <= self.lease_ttl / 2;
        faults.check("lease_renew_interval", renewed_in_time, "must be at most half of fanout.lease_ttl");
        let ordered = self.retry_wait_min <= self.retry_wait_max;
        faults.check("retry_wait_max", ordered, "must be at least fanout.retry_wait_min");
        faults.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault() {
        assert_eq!(FanoutConfig::default().faults(), []);
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let config = FanoutConfig {
            lease_ttl: Duration::from_secs(5),
            batch_max: 0,
            retry_wait_max: Duration::from_millis(10),
            ..FanoutConfig::default()
        };
        let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["fanout.batch_max", "fanout.lease_renew_interval", "fanout.retry_wait_max"]);
    }

    #[test]
    fn durations_are_read_as_people_write_them_and_unknown_keys_are_refused() {
        let config: FanoutConfig = serde_json::from_str(r#"{"lease_ttl": "20s", "batch_max": 5}"#).unwrap();
        assert_eq!((config.lease_ttl, config.batch_max), (Duration::from_secs(20), 5));
        assert!(serde_json::from_str::<FanoutConfig>(r#"{"lease_tll": "20s"}"#).is_err());
    }
}
