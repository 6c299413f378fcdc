//! The command line: what can be asked for, and the texts that explain it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use roost_gateway::config::Algorithm;
use roost_storage::{DeviceId, UserId, duration_text};

use crate::config::Flag;
use crate::role::Role;
use crate::token::TokenRequest;

const ABOUT: &str = "A chat server for Phoenix Channels clients";

const LONG_ABOUT: &str = "\
A chat server for Phoenix Channels clients (phoenix.js and its cousins).

Without a command it runs standalone: everything in one process, on a store of its own in the data directory. Nothing \
else needs to be installed. The first start makes that directory and the keys in it, and says how to get a token. \
SIGTERM or Ctrl-C ends it in good order; it also survives being killed.

A cluster is any number of `roost gateway` and `roost fanout`, on Redis and ScyllaDB.";

const AFTER_HELP: &str = "\
Examples:
  roost                                  start on 127.0.0.1:4000, data in ./roost-data
  roost --listen 0.0.0.0:4000 --data /var/lib/roost
  roost token --user alice               a token that lets alice in for an hour
  roost check-config                     what is configured, and what is wrong with it

Configuration:
  Defaults, then roost.toml, then environment variables, then flags; the later wins.
  Every key is also an environment variable, with lists written as JSON:
  gateway.idle_timeout is ROOST_GATEWAY__IDLE_TIMEOUT.
  `roost check-config` prints every key with its value.

Logs go to stderr. Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "roost", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    /// None: standalone.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalFlags {
    /// Configuration file [default: roost.toml in the working directory, if there is one]
    ///
    /// Also ROOST_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Directory of standalone's store and keys; made when there is none [default: roost-data]
    ///
    /// Also the key data and ROOST_DATA.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,

    /// Address for clients; port 0 takes a free one [default: 127.0.0.1:4000, in a cluster 0.0.0.0:4000]
    ///
    /// Also gateway.listen and ROOST_GATEWAY__LISTEN.
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,

    /// Address of the HTTP API, /metrics, /livez and /readyz [default: 127.0.0.1:4001, in a cluster
    /// 0.0.0.0:4001]
    ///
    /// Keep it away from the public. Also gateway.api_listen and ROOST_GATEWAY__API_LISTEN; of a fanout
    /// fanout.api_listen and ROOST_FANOUT__API_LISTEN.
    #[arg(long, global = true, value_name = "ADDR")]
    api_listen: Option<String>,
}

impl GlobalFlags {
    /// Those that set a key of a role. Their values are checked where those of the other sources are, so that all faults are told
    /// at once.
    pub(crate) fn settings(&self, role: Role) -> Vec<Flag> {
        let flags = [
            ("--data", "data", &self.data),
            ("--listen", "gateway.listen", &self.listen),
            ("--api-listen", role.api_listen_key(), &self.api_listen),
        ];
        let given = |(name, key, value): (_, _, &Option<String>)| Some(Flag { name, key, value: value.clone()? });
        flags.into_iter().filter_map(given).collect()
    }
}

/// What `roost` can do besides running standalone.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a gateway of a cluster: it talks with the clients
    ///
    /// Any number of them, and any user on any of them. Messages go through Redis (redis.url) to the fanouts and from
    /// them; ScyllaDB (scylla.nodes) holds what was said and to whom it is owed. auth.keys must name the keys that verify
    /// tokens, gateway.api_key_file the key of the HTTP API. All roles can share one configuration file.
    ///
    /// Backends that are not there yet are waited for: meanwhile /livez answers 200 and /readyz 503 with the reason.
    /// SIGTERM drains it: readiness fails, connections are closed in batches, and what they have not confirmed is stored.
    /// A second one ends it at once. It ends with exit code 1 when it must not go on; start it again.
    #[command(after_help = "\
Examples:
  roost gateway --config /etc/roost/roost.toml
  ROOST_REDIS__URL=redis://redis:6379 ROOST_SCYLLA__NODES='[\"scylla-1\", \"scylla-2\"]' roost gateway
  roost gateway --listen 127.0.0.1:0 --api-listen 127.0.0.1:0    on free ports, which it prints

Listens on 0.0.0.0:4000 for clients, and on 0.0.0.0:4001 for the API, /metrics, /livez and /readyz.
`roost migrate` makes the tables first; at least one `roost fanout` must run for messages to arrive.")]
    Gateway,

    /// Run a fanout of a cluster: it routes messages
    ///
    /// Any number of them, but no more than redis.partitions have work: they share the partitions of the event log, and
    /// take over those of one that is gone. It needs Redis (redis.url) and ScyllaDB (scylla.nodes), and talks to no client.
    ///
    /// Backends that are not there yet are waited for: meanwhile /livez answers 200 and /readyz 503 with the reason.
    /// SIGTERM lets it finish what it has begun and gives its partitions back. A second one ends it at once. It ends with
    /// exit code 1 when it can not go on; start it again.
    #[command(after_help = "\
Examples:
  roost fanout --config /etc/roost/roost.toml
  roost fanout --api-listen 127.0.0.1:0                          on a free port, which it prints

Listens on 0.0.0.0:4001 (fanout.api_listen) for /metrics, /livez and /readyz.")]
    Fanout,

    /// Make the tables of a cluster in ScyllaDB, or bring them up to this version
    ///
    /// Run it before the first start, and before the gateways and fanouts of a newer version. It may be run again at any
    /// time, by several at once, and while older versions run. Prints what it has applied. Exit code 1 when ScyllaDB
    /// (scylla.nodes) can not be reached or a statement fails; running it again goes on there.
    #[command(after_help = "\
Examples:
  roost migrate --config /etc/roost/roost.toml
  roost migrate --dry-run                print the statements, change nothing

The keyspace is made with scylla.replication when there is none.")]
    Migrate {
        /// Print what would be applied, as CQL, and change nothing
        #[arg(long)]
        dry_run: bool,
    },

    /// Print a token that lets a user in, and nothing else
    ///
    /// Signs with the key in the data directory, which the first start of `roost` makes; the server need not run. When
    /// auth.keys names an HS256 secret, that signs. Issuer and audience are taken from the configuration.
    #[command(after_help = "\
Examples:
  roost token --user alice
  roost token --user alice --device phone --ttl 30d
  roost token --user alice --key private.pem
  roost token --user alice --key secret.txt --algorithm HS256
  TOKEN=$(roost token --user alice --data /var/lib/roost)")]
    Token(TokenArguments),

    /// Print the effective configuration as TOML, or everything that is wrong with it
    ///
    /// Reads what `roost`, or a role of a cluster, would read: the file, the environment and the flags, and the key files they name. Opens no
    /// port and no store. Prints paths of key files, never what is in them. Exit code 2 when anything is wrong.
    #[command(after_help = "\
Examples:
  roost check-config
  roost check-config --config /etc/roost/roost.toml
  roost check-config --role gateway
  ROOST_GATEWAY__ORIGINS='[\"https://*.example.com\"]' roost check-config")]
    CheckConfig {
        /// For which role: its defaults, and what it needs
        #[arg(long, value_enum, value_name = "ROLE", default_value_t = Role::Standalone)]
        role: Role,
    },
}

/// What `roost token` takes.
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    /// User whom the token lets in: its `sub`
    #[arg(long, value_name = "ID", value_parser = user)]
    user: UserId,

    /// Device it is good for; without, for any
    ///
    /// A connection with another device_unique_id is then refused.
    #[arg(long, value_name = "D", value_parser = device)]
    device: Option<DeviceId>,

    /// For how long: a number and ms, s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = ttl)]
    ttl: Duration,

    /// File with the key that signs, instead of the data directory's
    ///
    /// A private RSA key in PEM form, or the secret with --algorithm HS256.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// How the key signs [default: RS256, or HS256 when auth.keys has a secret and --key is not given]
    #[arg(long, value_enum, ignore_case = true, value_name = "NAME")]
    algorithm: Option<AlgorithmName>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AlgorithmName {
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "HS256")]
    Hs256,
}

impl From<TokenArguments> for TokenRequest {
    fn from(arguments: TokenArguments) -> Self {
        let algorithm = arguments.algorithm.map(|algorithm| match algorithm {
            AlgorithmName::Rs256 => Algorithm::RS256,
            AlgorithmName::Hs256 => Algorithm::HS256,
        });
        let TokenArguments { user, device, ttl, key, .. } = arguments;
        Self { user, device, ttl, key, algorithm }
    }
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|error| error.to_string())
}

fn device(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|error| error.to_string())
}

/// Longest life of a token: ten years.
const TTL_MAX: Duration = Duration::from_hours(24 * 3650);

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration_text::parse(text).map_err(|error| error.to_string())?;
    if (Duration::from_secs(1)..=TTL_MAX).contains(&ttl) { Ok(ttl) } else { Err("must be 1s to 3650d".into()) }
}
