//! Making keys and signing tokens: for standalone's first start and `roost token`. A gateway in a cluster does neither.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::{key_files, pem};
use crate::config::Algorithm;

/// Why a key could not be made or used. Says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyProblem(String);

impl KeyProblem {
    fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// What a token of ours claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims<'a> {
    /// `sub`.
    pub user: &'a str,
    /// `iat`, in whole seconds.
    pub issued_at: SystemTime,
    /// `exp`, in whole seconds.
    pub expires_at: SystemTime,
    /// `iss`.
    pub issuer: Option<&'a str>,
    /// `aud`.
    pub audience: Option<&'a str>,
    /// `roost_device`: the only device it is good for.
    pub device: Option<&'a str>,
}

/// A new RSA key of 2048 bits: the private part as PKCS#8, the public part as SubjectPublicKeyInfo, both PEM.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate_key_pair() -> Result<(String, String), KeyProblem> {
    let failed = |_| KeyProblem::new("the key pair could not be made");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let private: Pkcs8V1Der = pair.as_der().map_err(failed)?;
    Ok((pem::encode("PRIVATE KEY", private.as_ref()), public_pem(&pair)?))
}

/// A new secret of 256 bits as text without spaces: for the HTTP API's key.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate_secret() -> Result<String, KeyProblem> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| KeyProblem::new("the secret could not be made"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The public part of a private RSA key, both PEM.
///
/// # Errors
/// When it is not a private RSA key of at least 2048 bits.
pub fn public_key_of(private_pem: &[u8]) -> Result<String, KeyProblem> {
    public_pem(&private_rsa_key(private_pem)?)
}

fn public_pem(pair: &KeyPair) -> Result<String, KeyProblem> {
    let public: PublicKeyX509Der =
        pair.public_key().as_der().map_err(|_| KeyProblem::new("the public key could not be written"))?;
    Ok(pem::encode("PUBLIC KEY", public.as_ref()))
}

fn private_rsa_key(private_pem: &[u8]) -> Result<KeyPair, KeyProblem> {
    let Some((label, der)) = std::str::from_utf8(private_pem).ok().and_then(pem::decode) else {
        return Err(KeyProblem::new("is not a private key in PEM form, which RS256 needs"));
    };
    let pair = match label {
        "PRIVATE KEY" => KeyPair::from_pkcs8(&der),
        "RSA PRIVATE KEY" => KeyPair::from_der(&der),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            return Err(KeyProblem::new("is a public key; signing needs the private part"));
        }
        other => return Err(KeyProblem::new(format!("holds a PEM block {other:?}, not a \"PRIVATE KEY\""))),
    };
    pair.map_err(|_| KeyProblem::new("is not a private RSA key of at least 2048 bits, which RS256 needs"))
}

/// Signs a token. `key` is what a key file holds: a private key in PEM form for RS256, a secret for HS256.
///
/// # Errors
/// When the key is not one for that algorithm.
pub fn sign(key: &[u8], algorithm: Algorithm, claims: &TokenClaims<'_>) -> Result<String, KeyProblem> {
    #[derive(Serialize)]
    struct Body<'a> {
        sub: &'a str,
        iat: u64,
        exp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        iss: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        aud: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        roost_device: Option<&'a str>,
    }
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let body = Body {
        sub: claims.user,
        iat: seconds(claims.issued_at),
        exp: seconds(claims.expires_at),
        iss: claims.issuer,
        aud: claims.audience,
        roost_device: claims.device,
    };
    let key = match algorithm {
        Algorithm::RS256 => {
            private_rsa_key(key)?;
            EncodingKey::from_rsa_pem(key).map_err(|_| KeyProblem::new("is not a private RSA key"))?
        }
        Algorithm::HS256 => EncodingKey::from_secret(key_files::secret(key).map_err(KeyProblem::new)?),
    };
    let header = Header::new(algorithm.into());
    jsonwebtoken::encode(&header, &body, &key).map_err(|_| KeyProblem::new("could not sign the token"))
}
