//! The binary: reads the command line and the configuration, and starts what was asked for.

mod causes;
mod cli;
mod cluster;
mod config;
mod keys;
mod logging;
mod role;
mod signals;
mod standalone;
mod stats_metrics;
mod store_metrics;
mod token;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::Parser;
use roost_storage::Fault;
use tokio::runtime::Runtime;

use cli::{Cli, Command};
use config::{Config, Surroundings};
use role::Role;
use token::TokenRequest;

/// Something did not work.
const FAILED: u8 = 1;

/// The command line or the configuration is wrong.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let around = match Surroundings::of_process() {
        Ok(around) => around,
        Err(error) => return ended(&Err(Ending::Failed(error.into())), &mut io::stderr()).into(),
    };
    run(std::env::args_os(), &around, &mut io::stdout(), &mut io::stderr()).into()
}

/// Why a command did not do what was asked.
enum Ending {
    /// It failed, with the reason.
    Failed(anyhow::Error),
    /// The configuration is wrong.
    Misconfigured(Vec<Fault>),
    /// The output could not be written.
    Output(io::Error),
}

impl From<anyhow::Error> for Ending {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Vec<Fault>> for Ending {
    fn from(faults: Vec<Fault>) -> Self {
        Self::Misconfigured(faults)
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Does what the arguments ask for, and returns the exit code.
fn run(
    arguments: impl IntoIterator<Item = OsString>,
    around: &Surroundings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    match Cli::try_parse_from(arguments) {
        Ok(cli) => ended(&command(cli, around, out), err),
        // Whoever asked may have closed the pipe: then there is nobody left to tell.
        Err(usage) if usage.use_stderr() => {
            let _ = write!(err, "{usage}");
            WRONG_USAGE
        }
        // `--help` and `--version` come this way too.
        Err(help) => {
            let _ = write!(out, "{help}");
            0
        }
    }
}

fn ended(result: &Result<(), Ending>, err: &mut dyn Write) -> u8 {
    // When stderr is gone there is nobody left to tell; the exit code says it.
    match result {
        Ok(()) => 0,
        Err(Ending::Failed(error)) => {
            let _ = writeln!(err, "roost: {}", causes::told(error));
            FAILED
        }
        Err(Ending::Output(error)) => {
            let _ = writeln!(err, "roost: the output could not be written: {error}");
            FAILED
        }
        Err(Ending::Misconfigured(faults)) => {
            let _ = writeln!(err, "roost: the configuration is wrong:");
            for fault in faults {
                let _ = writeln!(err, "  {fault}");
            }
            WRONG_USAGE
        }
    }
}

fn command(cli: Cli, around: &Surroundings, out: &mut dyn Write) -> Result<(), Ending> {
    let Cli { global, command } = cli;
    let load = |role, faults: fn(&Config, Role) -> Vec<Fault>| {
        config::load(role, global.config.as_deref(), &global.settings(role), around, faults)
    };
    match command {
        Some(Command::Token(arguments)) => {
            // The server's key files may be elsewhere: only the key that signs is needed here.
            let config = load(Role::Standalone, Config::faults)?;
            let token = token::make(&TokenRequest::from(arguments), &config, SystemTime::now())?;
            Ok(writeln!(out, "{token}")?)
        }
        Some(Command::CheckConfig { role }) => {
            let text = toml::to_string(&load(role, Config::all_faults)?).map_err(anyhow::Error::from)?;
            Ok(write!(
                out,
                "# Effective configuration for {role}. Secrets are in the files it names, and not shown.\n{text}"
            )?)
        }
        Some(Command::Gateway) => running(&load(Role::Gateway, Config::all_faults)?, cluster::gateway),
        Some(Command::Fanout) => running(&load(Role::Fanout, Config::all_faults)?, cluster::fanout),
        Some(Command::Migrate { dry_run }) => {
            let config = load(Role::Migrate, Config::all_faults)?;
            logging::start(&config.log)?;
            let report = runtime()?.block_on(cluster::migrate(&config, dry_run))?;
            Ok(writeln!(out, "{report}")?)
        }
        None => {
            let mut config = load(Role::Standalone, Config::all_faults)?;
            logging::start(&config.log)?;
            keys::DataKeys::prepare(&mut config)?;
            Ok(runtime()?.block_on(standalone::run(config))?)
        }
    }
}

/// Runs a role of a cluster to its end.
fn running<F: Future<Output = anyhow::Result<()>>>(config: &Config, role: fn(Config) -> F) -> Result<(), Ending> {
    logging::start(&config.log)?;
    Ok(runtime()?.block_on(role(config.clone()))?)
}

fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("the runtime did not start")
}
