//! What a signed token claims, and whether that lets its user in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use roost_storage::{DeviceId, UserId};
use serde::Deserialize;

use super::{TokenRefusal, Verified};
use crate::config::AuthConfig;

/// Claims we look at; a token may carry others.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    roost_device: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}

impl Claims {
    pub(super) fn check(self, config: &AuthConfig, now: SystemTime) -> Result<Verified, TokenRefusal> {
        let expires_at = instant(self.exp.ok_or(TokenRefusal::NoExpiry)?)? + config.leeway;
        if now >= expires_at {
            return Err(TokenRefusal::Expired);
        }
        if let Some(not_before) = self.nbf
            && now + config.leeway < instant(not_before)?
        {
            return Err(TokenRefusal::NotYetValid);
        }
        if config.issuer.is_some() && self.iss != config.issuer {
            return Err(TokenRefusal::WrongIssuer);
        }
        if let Some(audience) = &config.audience
            && !self.aud.is_some_and(|aud| aud.contains(audience))
        {
            return Err(TokenRefusal::WrongAudience);
        }
        let user = self.sub.and_then(|sub| UserId::new(sub).ok()).ok_or(TokenRefusal::WrongSubject)?;
        let device = self.roost_device.map(DeviceId::new).transpose().map_err(|_| TokenRefusal::Malformed)?;
        Ok(Verified { user, expires_at, device })
    }
}

/// The end of the year 9999: later times are taken for this one, so that none overflows.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// A NumericDate of RFC 7519: seconds since the epoch, possibly with a fraction.
fn instant(seconds: f64) -> Result<SystemTime, TokenRefusal> {
    // NaN fails the comparison too.
    if seconds >= 0.0 {
        Ok(UNIX_EPOCH + Duration::from_secs_f64(seconds.min(SECONDS_MAX)))
    } else {
        Err(TokenRefusal::Malformed)
    }
}
