//! The command line: what can be asked for, and the texts that explain it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use roost_gateway::config::Algorithm;
use roost_storage::{DeviceId, UserId, duration_text};

use crate::config::Flag;
use crate::token::TokenRequest;

const ABOUT: &str = "A chat server for Phoenix Channels clients";

const LONG_ABOUT: &str = "\
A chat server for Phoenix Channels clients (phoenix.js and its cousins).

Without a command it runs standalone: everything in one process, on a store of its own in the data directory. Nothing \
else needs to be installed. The first start makes that directory and the keys in it, and says how to get a token. \
SIGTERM or Ctrl-C ends it in good order; it also survives being killed.";

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

    /// Directory of the store and its keys; made when there is none [default: roost-data]
    ///
    /// Also the key data and ROOST_DATA.
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,

    /// Address for clients; port 0 takes a free one [default: 127.0.0.1:4000]
    ///
    /// Also gateway.listen and ROOST_GATEWAY__LISTEN.
    #[arg(long, global = true, value_name = "ADDR")]
    listen: Option<String>,

    /// Address of the HTTP API, /metrics, /livez and /readyz [default: 127.0.0.1:4001]
    ///
    /// Keep it away from the public. Also gateway.api_listen and ROOST_GATEWAY__API_LISTEN.
    #[arg(long, global = true, value_name = "ADDR")]
    api_listen: Option<String>,
}

impl GlobalFlags {
    /// Those that set a key. Their values are checked where those of the other sources are, so that all faults are told
    /// at once.
    pub(crate) fn settings(&self) -> Vec<Flag> {
        let flags = [
            ("--data", "data", &self.data),
            ("--listen", "gateway.listen", &self.listen),
            ("--api-listen", "gateway.api_listen", &self.api_listen),
        ];
        let given = |(name, key, value): (_, _, &Option<String>)| Some(Flag { name, key, value: value.clone()? });
        flags.into_iter().filter_map(given).collect()
    }
}

/// What `roost` can do besides running.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Reads what `roost` would read: the file, the environment and the flags, and the key files they name. Opens no
    /// port and no store. Prints paths of key files, never what is in them. Exit code 2 when anything is wrong.
    #[command(after_help = "\
Examples:
  roost check-config
  roost check-config --config /etc/roost/roost.toml
  ROOST_GATEWAY__ORIGINS='[\"https://*.example.com\"]' roost check-config")]
    CheckConfig,
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
