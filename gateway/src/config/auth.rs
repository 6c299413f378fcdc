//! `[auth]`: which tokens let a user in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use roost_storage::{Fault, Faults, duration_text};
use serde::{Deserialize, Serialize};

/// How a token is signed. Pinned to its key: what a token says about itself is never believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256. The gateway needs only the public key.
    RS256,
    /// HMAC with SHA-256. Whoever can verify can also sign.
    HS256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RS256 => "RS256",
            Self::HS256 => "HS256",
        })
    }
}

/// One key that verifies tokens. The key itself is in a file, so that no configuration holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfig {
    /// What the key is for.
    pub algorithm: Algorithm,
    /// RS256: a public key in PEM form. HS256: the secret's bytes, of which a line end at the end is no part.
    pub file: PathBuf,
    /// The `kid` of the tokens it signs. A token that names one is verified with that key only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default)]
    pub kid: Option<String>,
}

/// `[auth]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Keys that verify tokens. Several allow changing a key without a gap. Standalone takes its data directory's when
    /// empty.
    pub keys: Vec<KeyConfig>,

    /// The `iss` a token must carry. Unset: not looked at.
    pub issuer: Option<String>,

    /// The `aud` a token must carry, alone or in a list. Unset: not looked at.
    pub audience: Option<String>,

    /// How far `exp` and `nbf` may be off because of clocks. Too low: fresh tokens of a server whose clock is ahead are
    /// refused. Too high: expired tokens connect.
    #[serde(with = "duration_text")]
    pub leeway: Duration,

    /// How long an open connection outlives its token. Too low: users are cut off at the second, mid-sentence. Too high:
    /// someone whose access ended stays that long.
    #[serde(with = "duration_text")]
    pub expiry_grace: Duration,

    /// Verified tokens remembered, so that a reconnect costs no signature check (about 100 bytes each). Too low:
    /// everybody reconnecting at once costs a signature check each. Too high: memory.
    pub token_cache_max: usize,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            issuer: None,
            audience: None,
            leeway: Duration::ZERO,
            expiry_grace: Duration::ZERO,
            token_cache_max: 100_000,
        }
    }
}

impl AuthConfig {
    /// What is wrong with the values. What is wrong with the key files is found where they are read:
    /// [`Authenticator::new`](crate::auth::Authenticator::new).
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::of("auth");
        faults.duration("leeway", self.leeway, Duration::ZERO..=Duration::from_secs(600));
        faults.duration("expiry_grace", self.expiry_grace, Duration::ZERO..=Duration::from_hours(24));
        faults.number("token_cache_max", self.token_cache_max, 1..=100_000_000);
        for (key, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            faults.check(key, value.as_deref() != Some(""), "must not be empty; leave it out for no check");
        }
        faults.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault_and_limits_are_checked() {
        assert_eq!(AuthConfig::default().faults(), []);
        let config = AuthConfig {
            issuer: Some(String::new()),
            audience: Some(String::new()),
            leeway: Duration::from_secs(601),
            expiry_grace: Duration::from_hours(25),
            token_cache_max: 0,
            keys: Vec::new(),
        };
        let keys: Vec<_> = config.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["auth.leeway", "auth.expiry_grace", "auth.token_cache_max", "auth.issuer", "auth.audience"]);
    }
}
