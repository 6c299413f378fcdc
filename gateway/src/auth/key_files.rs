//! Reading the keys that verify tokens, and what can be wrong with their files.

use std::fmt;
use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa;
use jsonwebtoken::{DecodingKey, Validation};
use roost_storage::Fault;

use super::claims::Claims;
use super::{TokenRefusal, pem};
use crate::config::{Algorithm, KeyConfig};

/// Shortest secret, in bytes: as long as the hash (RFC 7518 3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// Shortest RSA key, in bits (RFC 7518 3.3).
const RSA_BITS_MIN: usize = 2048;

/// One key, and the only algorithm it is used with.
pub(super) struct VerifyingKey {
    pub(super) kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    signature_only: Validation,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl VerifyingKey {
    fn new(kid: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Self {
        // Claims are checked by us: against a time we are given, and with a name for each refusal.
        let mut signature_only = Validation::new(algorithm.into());
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_nbf = false;
        signature_only.validate_aud = false;
        Self { kid, algorithm, key, signature_only }
    }

    /// The claims, when this key signed the token. `claimed` is what the token's header says, and must be ours.
    pub(super) fn verify(&self, token: &str, claimed: jsonwebtoken::Algorithm) -> Result<Claims, TokenRefusal> {
        use jsonwebtoken::errors::ErrorKind;

        if claimed != self.algorithm.into() {
            return Err(TokenRefusal::WrongAlgorithm);
        }
        let decoded = jsonwebtoken::decode(token, &self.key, &self.signature_only);
        decoded.map(|data| data.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenRefusal::WrongSignature,
            ErrorKind::InvalidAlgorithm => TokenRefusal::WrongAlgorithm,
            _ => TokenRefusal::Malformed,
        })
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::RS256 => Self::RS256,
            Algorithm::HS256 => Self::HS256,
        }
    }
}

/// Reads every configured key, or says what is wrong with each that can not be used.
pub(super) fn read(configured: &[KeyConfig]) -> Result<Vec<VerifyingKey>, Vec<Fault>> {
    let mut keys: Vec<VerifyingKey> = Vec::with_capacity(configured.len());
    let mut faults = Vec::new();
    if configured.is_empty() {
        faults
            .push(Fault { key: "auth.keys".into(), problem: "no key is given, so no token could be verified".into() });
    }
    for (index, config) in configured.iter().enumerate() {
        let earlier = &configured[..index];
        if config.kid.is_some() && earlier.iter().any(|other| other.kid == config.kid) {
            let problem = format!("{:?} is the kid of another key too", config.kid.as_deref().unwrap_or_default());
            faults.push(Fault { key: format!("auth.keys[{index}].kid"), problem });
        }
        match read_one(config) {
            Ok(key) => keys.push(VerifyingKey::new(config.kid.clone(), config.algorithm, key)),
            Err(problem) => {
                let problem = format!("{} {problem}", config.file.display());
                faults.push(Fault { key: format!("auth.keys[{index}].file"), problem });
            }
        }
    }
    if faults.is_empty() { Ok(keys) } else { Err(faults) }
}

fn read_one(config: &KeyConfig) -> Result<DecodingKey, String> {
    let contents = read_key_file(&config.file)?;
    match config.algorithm {
        Algorithm::RS256 => public_rsa_key(&contents),
        Algorithm::HS256 => secret(&contents).map(DecodingKey::from_secret),
    }
}

/// A key file's contents, or what stands in the way of reading it.
pub(super) fn read_key_file(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("can not be read: {error}"))
}

fn public_rsa_key(contents: &[u8]) -> Result<DecodingKey, String> {
    let Some((label, der)) = std::str::from_utf8(contents).ok().and_then(pem::decode) else {
        return Err("is not a public key in PEM form, which RS256 needs".into());
    };
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => {
            return Err("is a private key: give its public part, the gateway signs nothing".into());
        }
        other => return Err(format!("holds a PEM block {other:?}, not a \"PUBLIC KEY\"")),
    }
    let unusable = || format!("is not an RSA public key of at least {RSA_BITS_MIN} bits, which RS256 needs");
    let public = rsa::PublicKey::from_der(&der).map_err(|_| unusable())?;
    // Reading it does not look at its length; only the form for encryption tells.
    let x509: PublicKeyX509Der = public.as_der().map_err(|_| unusable())?;
    let bits = rsa::PublicEncryptingKey::from_der(x509.as_ref()).map_or(0, |key| key.key_size_bits());
    if bits < RSA_BITS_MIN {
        return Err(unusable());
    }
    // `as_ref` is the key as PKCS#1, whichever of the two forms the file had.
    Ok(DecodingKey::from_rsa_der(public.as_ref()))
}

/// The secret in a file: its bytes without the line end that editors add.
pub(super) fn secret(contents: &[u8]) -> Result<&[u8], String> {
    let secret = contents.strip_suffix(b"\n").unwrap_or(contents);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    if secret.starts_with(b"-----BEGIN ") {
        return Err("is a PEM file; HS256 needs a secret that nobody else knows".into());
    }
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("holds a secret of {} bytes; HS256 needs at least {SECRET_BYTES_MIN}", secret.len()));
    }
    Ok(secret)
}
