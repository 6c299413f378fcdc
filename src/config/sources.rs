//! Where values come from: the file, the environment, the flags. Each becomes a list of settings; whether a key exists
//! and a value fits is decided in one place for all three, in `load`.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use roost_storage::Fault;
use serde_json::Value;

/// The file that is read when none is named and there is one in the working directory.
const DEFAULT_FILE: &str = "roost.toml";

/// What every variable of ours starts with.
const PREFIX: &str = "ROOST_";

/// Names the file, as `--config` does.
const FILE_VARIABLE: &str = "ROOST_CONFIG";

/// Variables of that prefix that development and test tools read, not the server.
const OF_TOOLS: [&str; 3] = ["ROOST_BIN", "ROOST_CACHE", "ROOST_KILL_SEED"];

/// What the process has been given besides its arguments.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub(crate) fn of_process() -> std::io::Result<Self> {
        Ok(Self { environment: std::env::vars_os().collect(), directory: std::env::current_dir()? })
    }
}

/// A flag that sets a key.
#[derive(Debug, Clone)]
pub(crate) struct Flag {
    /// As it is written: `--listen`.
    pub(crate) name: &'static str,
    /// What it sets: `gateway.listen`.
    pub(crate) key: &'static str,
    /// To what.
    pub(crate) value: String,
}

/// One value for one key, and who says so.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) key: Vec<String>,
    pub(super) value: Given,
    pub(super) origin: Origin,
}

/// A value as its source has it.
#[derive(Debug, Clone)]
pub(super) enum Given {
    /// With a type of its own: from the file. A table stands for all settings in it.
    Typed(Value),
    /// As text, to be read as what the key wants.
    Text(String),
}

/// Where a setting comes from, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "in {}", file.display()),
            Self::Variable(name) => write!(f, "in the environment variable {name}"),
            Self::Flag(name) => write!(f, "in the flag {name}"),
        }
    }
}

/// The file's settings. A file that was asked for must be there.
pub(super) fn from_file(asked_for: Option<&Path>, around: &Surroundings) -> Result<Vec<Setting>, Fault> {
    let variable = around.environment.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, file)| Path::new(file));
    let (file, by) = match (asked_for, variable) {
        (Some(file), _) => (file, "--config"),
        (None, Some(file)) => (file, FILE_VARIABLE),
        (None, None) => (Path::new(DEFAULT_FILE), DEFAULT_FILE),
    };
    let fault = |problem: String| Fault { key: by.into(), problem };
    let text = match std::fs::read_to_string(around.directory.join(file)) {
        Ok(text) => text,
        Err(error) if by == DEFAULT_FILE && error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(format!("{} can not be read: {error}", file.display()))),
    };
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| fault(format!("{} is not TOML: {}", file.display(), error.to_string().trim_end())))?;
    let value = Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect());
    Ok(vec![Setting { key: Vec::new(), value: Given::Typed(value), origin: Origin::File(file.to_owned()) }])
}

/// TOML in JSON's types. A date becomes its text: no key wants one.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(truth) => truth.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

/// The environment's settings: `ROOST_GATEWAY__LISTEN` is `gateway.listen`.
pub(super) fn from_environment(around: &Surroundings) -> Result<Vec<Setting>, Vec<Fault>> {
    let mut settings = Vec::new();
    let mut faults = Vec::new();
    for (name, value) in &around.environment {
        let name = name.to_string_lossy();
        let Some(key) = name.strip_prefix(PREFIX) else { continue };
        if name == FILE_VARIABLE || OF_TOOLS.contains(&&*name) || is_service_link(key) {
            continue;
        }
        let Some(value) = value.to_str() else {
            faults.push(Fault { key: name.into_owned(), problem: "is not UTF-8".into() });
            continue;
        };
        settings.push(Setting {
            key: key.split("__").map(str::to_ascii_lowercase).collect(),
            value: Given::Text(value.to_owned()),
            origin: Origin::Variable(name.into_owned()),
        });
    }
    // The order of an environment is nobody's choice; that of the faults should be the same each time.
    settings.sort_by(|one, other| one.key.cmp(&other.key));
    if faults.is_empty() { Ok(settings) } else { Err(faults) }
}

/// Kubernetes puts `ROOST_SERVICE_HOST`, `ROOST_GATEWAY_PORT_4000_TCP` and the like into each container when there is a
/// service of such a name. They are not meant for us.
fn is_service_link(key: &str) -> bool {
    let after_port = key.split_once("PORT").map(|(_, after)| after);
    !key.contains("__")
        && (key.ends_with("SERVICE_HOST")
            || key.contains("SERVICE_PORT")
            || after_port.is_some_and(|after| {
                after.is_empty()
                    || after.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            }))
}

/// The flags' settings.
pub(super) fn from_flags(flags: &[Flag]) -> Vec<Setting> {
    let setting = |flag: &Flag| Setting {
        key: flag.key.split('.').map(Into::into).collect(),
        value: Given::Text(flag.value.clone()),
        origin: Origin::Flag(flag.name),
    };
    flags.iter().map(setting).collect()
}
