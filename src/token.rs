//! `roost token`: signs a token for a user. Needs no running server.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use roost_gateway::auth::keys::{TokenClaims, sign};
use roost_gateway::config::Algorithm;
use roost_storage::{DeviceId, UserId};

use crate::config::Config;
use crate::keys::DataKeys;

/// What a token is asked for.
#[derive(Debug, Clone)]
pub(crate) struct TokenRequest {
    /// Whom it lets in.
    pub(crate) user: UserId,
    /// The only device it is good for.
    pub(crate) device: Option<DeviceId>,
    /// For how long.
    pub(crate) ttl: Duration,
    /// The key, when not the data directory's.
    pub(crate) key: Option<PathBuf>,
    /// How `key` signs.
    pub(crate) algorithm: Option<Algorithm>,
}

/// Signs the token, so that a server with this configuration accepts it.
///
/// # Errors
/// When there is no key to sign with, or it is not one.
pub(crate) fn make(request: &TokenRequest, config: &Config, now: SystemTime) -> anyhow::Result<String> {
    let (file, algorithm) = key_file(request, config)?;
    let key = fs::read(&file).with_context(|| format!("the key {} can not be read", file.display()))?;
    let claims = TokenClaims {
        user: request.user.as_str(),
        issued_at: now,
        expires_at: now + request.ttl,
        issuer: config.auth.issuer.as_deref(),
        audience: config.auth.audience.as_deref(),
        device: request.device.as_ref().map(DeviceId::as_str),
    };
    sign(&key, algorithm, &claims).with_context(|| format!("the key {} can not be used", file.display()))
}

/// What to sign with: the key given, else a configured secret, else the data directory's private key.
fn key_file(request: &TokenRequest, config: &Config) -> anyhow::Result<(PathBuf, Algorithm)> {
    if let Some(file) = &request.key {
        return Ok((file.clone(), request.algorithm.unwrap_or(Algorithm::RS256)));
    }
    let wanted = |algorithm| request.algorithm.is_none_or(|wanted| wanted == algorithm);
    let secret = config.auth.keys.iter().find(|key| key.algorithm == Algorithm::HS256);
    if let Some(secret) = secret.filter(|_| wanted(Algorithm::HS256)) {
        return Ok((secret.file.clone(), Algorithm::HS256));
    }
    if !config.auth.keys.is_empty() {
        bail!("auth.keys only verifies with RS256: name the private key that belongs to it with --key FILE");
    }
    if !wanted(Algorithm::RS256) {
        bail!("the data directory has no HS256 secret: name one with --key FILE");
    }
    let file = DataKeys::of(&config.data).token_private;
    if !file.exists() {
        let directory = config.data.display();
        bail!(
            "there is no key in {directory} yet: start roost once with that data directory, or name a key with --key"
        );
    }
    Ok((file, Algorithm::RS256))
}
