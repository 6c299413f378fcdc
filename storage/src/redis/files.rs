//! The files that the configuration names, read at start.

use std::io;
use std::path::Path;

use super::config::RedisConfig;
use super::error::OpenError;
use crate::Fault;

/// What is in them. Of those that are not named, nothing.
pub(super) struct Files {
    pub(super) password: Option<String>,
    pub(super) sentinel_password: Option<String>,
    /// In PEM form.
    pub(super) authorities: Option<Vec<u8>>,
}

impl Files {
    pub(super) fn read(config: &RedisConfig) -> Result<Self, OpenError> {
        let [password, sentinel_password] = secrets(config).map(|(key, path)| {
            let secret = path.map(|path| read_secret(path).map_err(|error| unusable(key, path, error)));
            secret.transpose()
        });
        let authorities = config.ca_file.as_deref();
        let authorities =
            authorities.map(|path| std::fs::read(path).map_err(|error| unusable("redis.ca_file", path, error)));
        Ok(Self { password: password?, sentinel_password: sentinel_password?, authorities: authorities.transpose()? })
    }
}

/// Everything that is wrong with them.
pub(super) fn faults(config: &RedisConfig) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut note = |key: &str, path: &Path, result: io::Result<()>| {
        if let Err(error) = result {
            faults.push(Fault { key: key.into(), problem: format!("{} can not be used: {error}", path.display()) });
        }
    };
    for (key, path) in secrets(config) {
        if let Some(path) = path {
            note(key, path, read_secret(path).map(drop));
        }
    }
    if let Some(path) = &config.ca_file {
        note("redis.ca_file", path, std::fs::read(path).map(drop));
    }
    faults
}

fn secrets(config: &RedisConfig) -> [(&'static str, Option<&Path>); 2] {
    [
        ("redis.password_file", config.password_file.as_deref()),
        ("redis.sentinel_password_file", config.sentinel_password_file.as_deref()),
    ]
}

fn read_secret(path: &Path) -> io::Result<String> {
    let secret = std::fs::read_to_string(path)?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(secret.to_owned())
}

fn unusable(key: &'static str, path: &Path, error: io::Error) -> OpenError {
    OpenError::File { key, path: path.to_owned(), source: Box::new(error) }
}
