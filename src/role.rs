//! What a process can be.

use std::fmt;

use clap::ValueEnum;

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything in one process, on a store of its own.
    Standalone,
    /// Of a cluster: talks with clients.
    Gateway,
    /// Of a cluster: routes messages.
    Fanout,
    /// Of a cluster: makes or changes the tables, and ends.
    Migrate,
}

impl Role {
    /// The key that `--api-listen` sets.
    pub(crate) fn api_listen_key(self) -> &'static str {
        match self {
            Self::Fanout => "fanout.api_listen",
            Self::Standalone | Self::Gateway | Self::Migrate => "gateway.api_listen",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standalone => "standalone",
            Self::Gateway => "gateway",
            Self::Fanout => "fanout",
            Self::Migrate => "migrate",
        })
    }
}
