//! Who may connect: tokens and the keys that verify them. A token's text never leaves this module: not to a log, not to
//! an error, and the cache knows only its digest.

mod cache;
mod claims;
mod key_files;
pub mod keys;
mod pem;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use aws_lc_rs::digest;
use roost_storage::{DeviceId, Fault, UserId};

use crate::config::AuthConfig;
use cache::TokenCache;
use claims::Claims;
use key_files::VerifyingKey;

/// Longest token that is looked at, in bytes. Real ones are under 2 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Whom a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its `sub`.
    pub user: UserId,
    /// When it stops being accepted: `exp`, with the leeway added.
    pub expires_at: SystemTime,
    /// The only device it is good for (its `roost_device`), when it names one.
    pub device: Option<DeviceId>,
}

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenRefusal {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong,
    /// Not three parts of base64url, or a part is not what it must be. Includes `alg: none`.
    Malformed,
    /// Its `kid` is none of ours.
    UnknownKey,
    /// It says an algorithm that is not the key's.
    WrongAlgorithm,
    /// No key of ours signed it.
    WrongSignature,
    /// It never expires.
    NoExpiry,
    /// `exp` is past.
    Expired,
    /// `nbf` is to come.
    NotYetValid,
    /// `iss` is not the configured one.
    WrongIssuer,
    /// `aud` is not the configured one, and does not contain it.
    WrongAudience,
    /// `sub` is missing or not a user id.
    WrongSubject,
}

impl TokenRefusal {
    /// The reason, for people. Before the signature is known to be good it says nothing about what was wrong.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong | Self::Malformed | Self::UnknownKey | Self::WrongAlgorithm | Self::WrongSignature => {
                "token invalid"
            }
            Self::NoExpiry => "token has no expiry",
            Self::Expired => "token expired",
            Self::NotYetValid => "token not yet valid",
            Self::WrongIssuer => "token issuer not accepted",
            Self::WrongAudience => "token audience not accepted",
            Self::WrongSubject => "token names no user",
        }
    }
}

/// How often a token was in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheCounts {
    /// Verified without a look at its signature.
    pub hits: u64,
    /// Not in the cache.
    pub misses: u64,
}

/// Verifies tokens with the configured keys, and remembers those that were good.
pub struct Authenticator {
    keys: Vec<VerifyingKey>,
    config: AuthConfig,
    cache: Mutex<TokenCache>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Authenticator {
    /// Reads the configured key files.
    ///
    /// # Errors
    /// Every key that can not be used, with its place in the configuration; that there is none at all; a `kid` that is
    /// used twice.
    pub fn new(config: &AuthConfig) -> Result<Self, Vec<Fault>> {
        let keys = key_files::read(&config.keys)?;
        Ok(Self {
            keys,
            config: config.clone(),
            cache: Mutex::new(TokenCache::new(config.token_cache_max)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    /// Whom the token lets in at `now`. Costs a signature check (tens of microseconds) unless it is in the cache.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Verified, TokenRefusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefusal::TooLong);
        }
        let digest = token_digest(token);
        let cached = self.cache.lock().expect("nothing panics with the cache locked").get(&digest);
        if let Some(verified) = cached {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return if now < verified.expires_at { Ok(verified) } else { Err(TokenRefusal::Expired) };
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        let verified = self.signed_claims(token)?.check(&self.config, now)?;
        self.cache.lock().expect("nothing panics with the cache locked").put(digest, verified.clone());
        Ok(verified)
    }

    /// How the cache has done so far.
    pub fn cache_counts(&self) -> CacheCounts {
        CacheCounts { hits: self.hits.load(Ordering::Relaxed), misses: self.misses.load(Ordering::Relaxed) }
    }

    /// The claims of a token that one of our keys signed. Nothing has been said yet about what they claim.
    fn signed_claims(&self, token: &str) -> Result<Claims, TokenRefusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefusal::Malformed)?;
        // RFC 7515 4.1.11: what is critical must be understood, and we understand no extension.
        if header.crit.is_some() {
            return Err(TokenRefusal::Malformed);
        }
        let mut refusal = TokenRefusal::UnknownKey;
        for key in self.keys.iter().filter(|key| header.kid.is_none() || header.kid == key.kid) {
            match key.verify(token, header.alg) {
                Ok(claims) => return Ok(claims),
                // A key of the right algorithm has said more than one of the wrong algorithm.
                Err(TokenRefusal::WrongAlgorithm) if refusal != TokenRefusal::UnknownKey => {}
                Err(other) => refusal = other,
            }
        }
        Err(refusal)
    }
}

fn token_digest(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
