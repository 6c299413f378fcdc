//! The configuration: every crate's sections in one, and where its values come from. Order: defaults, file, environment,
//! flags; the later wins. The environment is read nowhere else.

mod load;
mod log;
mod sources;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use roost_fanout::FanoutConfig;
use roost_gateway::ApiKey;
use roost_gateway::auth::Authenticator;
use roost_gateway::config::{AuthConfig, ChatsConfig, GatewayConfig};
use roost_storage::Fault;
use serde::{Deserialize, Serialize};

pub(crate) use load::load;
pub(crate) use log::{LogConfig, LogFormat};
pub(crate) use sources::{Flag, Surroundings};

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
        }
    }

    /// What is wrong with the values by themselves and with each other. Reads no file.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if self.data.as_os_str().is_empty() {
            faults.push(Fault { key: "data".into(), problem: "must name a directory".into() });
        }
        faults.extend(self.log.faults());
        faults.extend(self.gateway.faults());
        faults.extend(self.auth.faults());
        faults.extend(self.chats.faults(&self.gateway));
        faults.extend(self.fanout.faults());
        faults
    }

    /// Both [`Config::faults`] and [`Config::file_faults`].
    pub(crate) fn all_faults(&self) -> Vec<Fault> {
        let mut faults = self.faults();
        faults.extend(self.file_faults());
        faults
    }

    /// What is wrong with the files it names. Those that standalone makes by itself are not looked at.
    pub(crate) fn file_faults(&self) -> Vec<Fault> {
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
