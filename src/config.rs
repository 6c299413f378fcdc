//! The configuration: every crate's sections in one, and where its values come from. Order: defaults, file, environment,
//! flags; the later wins. The environment is read nowhere else.

mod load;
mod log;
mod sources;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use roost_fanout::FanoutConfig;
use roost_gateway::ApiKey;
use roost_gateway::auth::Authenticator;
use roost_gateway::config::{AuthConfig, ChatsConfig, GatewayConfig};
use roost_storage::Fault;
use roost_storage::redis::RedisConfig;
use roost_storage::scylla::ScyllaConfig;
use serde::{Deserialize, Serialize};

pub(crate) use load::load;
pub(crate) use log::{LogConfig, LogFormat};
pub(crate) use sources::{Flag, Surroundings};

use crate::role::Role;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Directory of the store, and of the keys made on the first start. Made when there is none.
    pub(crate) data: PathBuf,
    /// `[log]`.
    pub(crate) log: LogConfig,
    /// `[gateway]`.
    pub(crate) gateway: GatewayConfig,
    /// `[auth]`.
    pub(crate) auth: AuthConfig,
    /// `[chats]`.
    pub(crate) chats: ChatsConfig,
    /// `[fanout]`.
    pub(crate) fanout: FanoutConfig,
    /// `[redis]`: of a cluster.
    pub(crate) redis: RedisConfig,
    /// `[scylla]`: of a cluster.
    pub(crate) scylla: ScyllaConfig,
}

impl Config {
    /// What `roost` alone starts with. It differs from the crates' defaults where a fresh machine should just work.
    pub(crate) fn standalone() -> Self {
        Self {
            data: "roost-data".into(),
            log: LogConfig::default(),
            gateway: GatewayConfig::default(),
            auth: AuthConfig::default(),
            chats: ChatsConfig { open_join: true, ..ChatsConfig::default() },
            fanout: FanoutConfig::default(),
            redis: RedisConfig::default(),
            scylla: ScyllaConfig::default(),
        }
    }

    /// What the roles of a cluster start with: other machines are to reach them.
    fn cluster() -> Self {
        let mut config = Self::standalone();
        config.chats.open_join = false;
        config.gateway.listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        config.gateway.api_listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        config
    }

    /// What a role starts with.
    pub(crate) fn of(role: Role) -> Self {
        if role == Role::Standalone { Self::standalone() } else { Self::cluster() }
    }

    /// What is wrong with the values by themselves and with each other, for a role. One file serves all roles, so those
    /// of a cluster look at every section. Reads no file.
    pub(crate) fn faults(&self, role: Role) -> Vec<Fault> {
        let mut faults = self.log.faults();
        faults.extend(self.gateway.faults());
        faults.extend(self.auth.faults());
        faults.extend(self.chats.faults(&self.gateway));
        faults.extend(self.fanout.faults());
        if role == Role::Standalone {
            if self.data.as_os_str().is_empty() {
                faults.push(Fault { key: "data".into(), problem: "must name a directory".into() });
            }
        } else {
            faults.extend(self.redis.faults());
            faults.extend(self.scylla.faults());
            // What is pending of a big room is read from its history.
            if !self.scylla.history_ttl.is_zero() && self.scylla.history_ttl < self.chats.pending_ttl {
                let problem = "must be at least chats.pending_ttl, or 0s for ever";
                faults.push(Fault { key: "scylla.history_ttl".into(), problem: problem.into() });
            }
        }
        if role == Role::Gateway && self.auth.keys.is_empty() {
            let problem = "must name the keys that verify tokens: only standalone makes keys of its own";
            faults.push(Fault { key: "auth.keys".into(), problem: problem.into() });
        }
        faults
    }

    /// Both [`Config::faults`] and [`Config::file_faults`].
    pub(crate) fn all_faults(&self, role: Role) -> Vec<Fault> {
        let mut faults = self.faults(role);
        faults.extend(self.file_faults(role));
        faults
    }

    /// What is wrong with the files it names and the role reads. Those that standalone makes by itself are not looked at.
    pub(crate) fn file_faults(&self, role: Role) -> Vec<Fault> {
        match role {
            Role::Standalone => self.key_faults(),
            Role::Gateway => [self.key_faults(), self.redis.file_faults(), self.scylla.file_faults()].concat(),
            Role::Fanout => [self.redis.file_faults(), self.scylla.file_faults()].concat(),
            Role::Migrate => self.scylla.file_faults(),
        }
    }

    fn key_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(file) = &self.gateway.api_key_file {
            faults.extend(ApiKey::load(file).err());
        }
        if !self.auth.keys.is_empty()
            && let Err(keys) = Authenticator::new(&self.auth)
        {
            faults.extend(keys);
        }
        faults
    }
}
