//! Tokens of every kind against keys of every kind.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::keys::{TokenClaims, generate_key_pair, public_key_of, sign};
use super::*;
use crate::config::{Algorithm, KeyConfig};

pub(crate) const SECRET: &str = "an example secret of forty-two characters!";

/// Seconds since the epoch at which the tests take place.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// One pair for all tests: making one takes a tenth of a second.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| generate_key_pair().unwrap())
}

/// Key files in a directory of the test's own.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    fn key(&self, algorithm: Algorithm, name: &str, contents: impl AsRef<[u8]>, kid: Option<&str>) -> KeyConfig {
        KeyConfig { algorithm, file: self.put(name, contents), kid: kid.map(Into::into) }
    }
}

/// An authenticator with one HS256 key, [`SECRET`], and the rest as `config` says.
pub(crate) fn with_secret(config: AuthConfig) -> Authenticator {
    let files = Files::new();
    let keys = vec![files.key(Algorithm::HS256, "secret", SECRET, None)];
    Authenticator::new(&AuthConfig { keys, ..config }).unwrap()
}

fn with_public_key() -> Authenticator {
    let files = Files::new();
    let keys = vec![files.key(Algorithm::RS256, "public.pem", &pair().1, None)];
    Authenticator::new(&AuthConfig { keys, ..AuthConfig::default() }).unwrap()
}

/// A token with any header and claims, signed with HMAC-SHA-256 whatever its header says.
pub(crate) fn token_with_header(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn hs256_token(claims: &Value) -> String {
    token_with_header(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET.as_bytes())
}

fn rs256_token(expires_at: u64) -> String {
    let claims = TokenClaims {
        user: "ann",
        issued_at: at(NOW),
        expires_at: at(expires_at),
        issuer: None,
        audience: None,
        device: None,
    };
    sign(pair().0.as_bytes(), Algorithm::RS256, &claims).unwrap()
}

#[test]
fn a_good_token_of_either_algorithm_lets_its_user_in() {
    let expected = Verified { user: UserId::new("ann").unwrap(), expires_at: at(NOW + 60), device: None };
    assert_eq!(with_public_key().verify(&rs256_token(NOW + 60), at(NOW)), Ok(expected.clone()));
    let token = hs256_token(&json!({"sub": "ann", "exp": NOW + 60}));
    assert_eq!(with_secret(AuthConfig::default()).verify(&token, at(NOW)), Ok(expected));
}

#[test]
fn what_we_sign_carries_every_claim_we_gave_it() {
    let config = AuthConfig {
        issuer: Some("https://issuer.example".into()),
        audience: Some("chat".into()),
        ..AuthConfig::default()
    };
    let claims = TokenClaims {
        user: "ann",
        issued_at: at(NOW),
        expires_at: at(NOW + 60),
        issuer: config.issuer.as_deref(),
        audience: config.audience.as_deref(),
        device: Some("phone"),
    };
    let token = sign(SECRET.as_bytes(), Algorithm::HS256, &claims).unwrap();
    let verified = with_secret(config).verify(&token, at(NOW)).unwrap();
    assert_eq!(verified.device, Some(DeviceId::new("phone").unwrap()));
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        payload,
        json!({"sub": "ann", "iat": NOW, "exp": NOW + 60, "iss": "https://issuer.example", "aud": "chat",
               "roost_device": "phone"})
    );
}

#[test]
fn claims_decide() {
    use TokenRefusal::*;

    let plain = AuthConfig::default();
    let lenient = AuthConfig { leeway: Duration::from_secs(30), ..AuthConfig::default() };
    let strict = AuthConfig { issuer: Some("iss".into()), audience: Some("aud".into()), ..AuthConfig::default() };
    let long = "x".repeat(129);
    let cases: Vec<(&AuthConfig, Value, Option<TokenRefusal>)> = vec![
        (&plain, json!({"sub": "ann"}), Some(NoExpiry)),
        (&plain, json!({"sub": "ann", "exp": null}), Some(NoExpiry)),
        (&plain, json!({"sub": "ann", "exp": NOW}), Some(Expired)),
        (&plain, json!({"sub": "ann", "exp": NOW - 1}), Some(Expired)),
        (&plain, json!({"sub": "ann", "exp": 0}), Some(Expired)),
        (&plain, json!({"sub": "ann", "exp": NOW as f64 + 0.5}), None),
        (&plain, json!({"sub": "ann", "exp": 1e300}), None),
        (&plain, json!({"sub": "ann", "exp": u64::MAX}), None),
        (&plain, json!({"sub": "ann", "exp": -1}), Some(Malformed)),
        (&plain, json!({"sub": "ann", "exp": (NOW + 60).to_string()}), Some(Malformed)),
        (&plain, json!({"sub": "ann", "exp": [NOW + 60]}), Some(Malformed)),
        (&lenient, json!({"sub": "ann", "exp": NOW - 29}), None),
        (&lenient, json!({"sub": "ann", "exp": NOW - 30}), Some(Expired)),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW}), None),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW + 1}), Some(NotYetValid)),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "nbf": 1e300}), Some(NotYetValid)),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "nbf": "now"}), Some(Malformed)),
        (&lenient, json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW + 30}), None),
        (&lenient, json!({"sub": "ann", "exp": NOW + 60, "nbf": NOW + 31}), Some(NotYetValid)),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "iss": "any", "aud": "any"}), None),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": "aud"}), None),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": ["other", "aud"]}), None),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "other", "aud": "aud"}), Some(WrongIssuer)),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "aud": "aud"}), Some(WrongIssuer)),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": "other"}), Some(WrongAudience)),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": ["other"]}), Some(WrongAudience)),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss", "aud": []}), Some(WrongAudience)),
        (&strict, json!({"sub": "ann", "exp": NOW + 60, "iss": "iss"}), Some(WrongAudience)),
        (&plain, json!({"exp": NOW + 60}), Some(WrongSubject)),
        (&plain, json!({"sub": null, "exp": NOW + 60}), Some(WrongSubject)),
        (&plain, json!({"sub": "", "exp": NOW + 60}), Some(WrongSubject)),
        (&plain, json!({"sub": long, "exp": NOW + 60}), Some(WrongSubject)),
        (&plain, json!({"sub": "a\nb", "exp": NOW + 60}), Some(WrongSubject)),
        (&plain, json!({"sub": 7, "exp": NOW + 60}), Some(Malformed)),
        (&plain, json!({"sub": "ann", "exp": NOW + 60, "roost_device": ""}), Some(Malformed)),
        (&plain, json!(["ann"]), Some(Malformed)),
        (&plain, json!("ann"), Some(Malformed)),
    ];
    for (config, claims, refusal) in cases {
        let result = with_secret(config.clone()).verify(&hs256_token(&claims), at(NOW));
        assert_eq!(result.err(), refusal, "{claims}");
    }
}

#[test]
fn the_algorithm_is_the_keys_and_never_the_tokens() {
    let good = json!({"sub": "ann", "exp": NOW + 60});
    let public = with_public_key();
    // The attack this is about: the public key, which everybody has, as the secret of an HMAC.
    for secret in [pair().1.as_bytes(), pair().1.trim_end().as_bytes()] {
        for (alg, refusal) in [
            ("HS256", TokenRefusal::WrongAlgorithm),
            ("RS256", TokenRefusal::WrongSignature),
            ("RS512", TokenRefusal::WrongAlgorithm),
            ("PS256", TokenRefusal::WrongAlgorithm),
            ("none", TokenRefusal::Malformed),
            ("None", TokenRefusal::Malformed),
            ("", TokenRefusal::Malformed),
        ] {
            let token = token_with_header(&json!({"alg": alg}), &good, secret);
            assert_eq!(public.verify(&token, at(NOW)), Err(refusal), "{alg}");
            let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
            assert!(public.verify(&unsigned, at(NOW)).is_err(), "{alg}, unsigned");
        }
    }
    let secret = with_secret(AuthConfig::default());
    assert_eq!(secret.verify(&rs256_token(NOW + 60), at(NOW)), Err(TokenRefusal::WrongAlgorithm));
    let other = token_with_header(&json!({"alg": "HS256"}), &good, b"another secret of more than 32 bytes");
    assert_eq!(secret.verify(&other, at(NOW)), Err(TokenRefusal::WrongSignature));
    let critical = token_with_header(&json!({"alg": "HS256", "crit": ["b64"]}), &good, SECRET.as_bytes());
    assert_eq!(secret.verify(&critical, at(NOW)), Err(TokenRefusal::Malformed));
}

#[test]
fn garbage_is_refused() {
    let authenticator = with_secret(AuthConfig::default());
    let good = hs256_token(&json!({"sub": "ann", "exp": NOW + 60}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let tampered = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"eve","exp":9999999999}"#));
    let cases = [
        ("", TokenRefusal::Malformed),
        (".", TokenRefusal::Malformed),
        ("..", TokenRefusal::Malformed),
        ("a.b.c", TokenRefusal::Malformed),
        ("not a token", TokenRefusal::Malformed),
        ("\u{0}.\u{1f600}.=", TokenRefusal::Malformed),
        (message, TokenRefusal::Malformed),
        (&format!("{good}.x"), TokenRefusal::Malformed),
        (&format!("{message}.!!!"), TokenRefusal::Malformed),
        (&format!("{message}."), TokenRefusal::WrongSignature),
        (&tampered, TokenRefusal::WrongSignature),
        (&format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), TokenRefusal::TooLong),
    ];
    for (token, refusal) in cases {
        assert_eq!(authenticator.verify(token, at(NOW)), Err(refusal), "{token}");
    }
}

#[test]
fn kid_selects_the_key_and_without_one_each_is_tried() {
    let files = Files::new();
    let second = "the second secret, of more than 32 bytes";
    let authenticator = Authenticator::new(&AuthConfig {
        keys: vec![
            files.key(Algorithm::HS256, "a", SECRET, Some("a")),
            files.key(Algorithm::HS256, "b", second, Some("b")),
            files.key(Algorithm::RS256, "c", &pair().1, None),
        ],
        ..AuthConfig::default()
    })
    .unwrap();
    let claims = json!({"sub": "ann", "exp": NOW + 60});
    let signed = |kid: Option<&str>, secret: &str| {
        token_with_header(&json!({"alg": "HS256", "kid": kid}), &claims, secret.as_bytes())
    };
    for (token, refusal) in [
        (signed(Some("a"), SECRET), None),
        (signed(Some("b"), second), None),
        (signed(Some("b"), SECRET), Some(TokenRefusal::WrongSignature)),
        (signed(Some("d"), SECRET), Some(TokenRefusal::UnknownKey)),
        (signed(None, SECRET), None),
        (signed(None, second), None),
        (signed(None, "a third secret, of more than 32 bytes."), Some(TokenRefusal::WrongSignature)),
        (rs256_token(NOW + 60), None),
    ] {
        assert_eq!(authenticator.verify(&token, at(NOW)).err(), refusal, "{token}");
    }
}

#[test]
fn a_cached_token_still_expires_and_only_good_ones_are_cached() {
    let authenticator = with_secret(AuthConfig::default());
    let token = hs256_token(&json!({"sub": "ann", "exp": NOW + 60}));
    assert!(authenticator.verify(&token, at(NOW)).is_ok());
    assert!(authenticator.verify(&token, at(NOW + 59)).is_ok());
    assert_eq!(authenticator.cache_counts(), CacheCounts { hits: 1, misses: 1 });
    assert_eq!(authenticator.verify(&token, at(NOW + 60)), Err(TokenRefusal::Expired));
    assert_eq!(authenticator.cache_counts(), CacheCounts { hits: 2, misses: 1 });
    for _ in 0..2 {
        assert!(authenticator.verify("a.b.c", at(NOW)).is_err());
    }
    assert_eq!(authenticator.cache_counts(), CacheCounts { hits: 2, misses: 3 });
}

/// RSA of 1024 bits.
const WEAK_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCltoXXuaDW/CUXGIc1rMJDcRIH
DPR1ptFrla7Zpd5EeCgj5ScYSn8YGsIvHe21u6ckTsgkX57iEw6PCONhBk4BEjoH
JOEeacAlwD0GG1SDmQPZhLam3gcJJloQMlcMk6kanSTovZyrHjtYRHeDEbcf6Snh
mMrM0NdCznMNiEVRcwIDAQAB
-----END PUBLIC KEY-----
";

/// A key of an elliptic curve, P-256.
const CURVE_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElWSFuP3hbNJWMsfTkO0OgqfFz9T3
BzqX3+2CbeYkvJEUhK+lgj34Z759aiEt0V/8aMbZ915NMzMSFPShPpeQhA==
-----END PUBLIC KEY-----
";

#[test]
fn every_key_file_that_can_not_be_used_is_a_fault_and_all_are_told_at_once() {
    let files = Files::new();
    let certificate = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    let keys = vec![
        KeyConfig { algorithm: Algorithm::RS256, file: files.0.path().join("missing"), kid: Some("a".into()) },
        KeyConfig { algorithm: Algorithm::RS256, file: files.0.path().into(), kid: Some("a".into()) },
        files.key(Algorithm::RS256, "private", &pair().0, None),
        files.key(Algorithm::RS256, "weak", WEAK_KEY, None),
        files.key(Algorithm::RS256, "curve", CURVE_KEY, None),
        files.key(Algorithm::RS256, "certificate", certificate, None),
        files.key(Algorithm::RS256, "secret", SECRET, None),
        files.key(Algorithm::HS256, "public", &pair().1, None),
        files.key(Algorithm::HS256, "short", "0123456789012345678901234567890\n", None),
        files.key(Algorithm::HS256, "empty", "", None),
        files.key(Algorithm::HS256, "good", SECRET, None),
    ];
    let config = AuthConfig { keys, ..AuthConfig::default() };
    let faults = Authenticator::new(&config).unwrap_err();
    let expected = [
        ("auth.keys[0].file", "can not be read: No such file"),
        ("auth.keys[1].kid", "\"a\" is the kid of another key too"),
        ("auth.keys[1].file", "can not be read: Is a directory"),
        ("auth.keys[2].file", "is a private key"),
        ("auth.keys[3].file", "at least 2048 bits"),
        ("auth.keys[4].file", "is not an RSA public key"),
        ("auth.keys[5].file", "\"CERTIFICATE\""),
        ("auth.keys[6].file", "is not a public key in PEM form"),
        ("auth.keys[7].file", "is a PEM file"),
        ("auth.keys[8].file", "a secret of 31 bytes"),
        ("auth.keys[9].file", "a secret of 0 bytes"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, (key, problem)) in faults.iter().zip(expected) {
        assert_eq!(fault.key, key);
        assert!(fault.problem.contains(problem), "{fault}");
    }
    let none = Authenticator::new(&AuthConfig::default()).unwrap_err();
    assert_eq!(none[0].key, "auth.keys");
}

#[test]
fn a_secret_is_the_same_with_and_without_the_line_end_of_an_editor() {
    let token = hs256_token(&json!({"sub": "ann", "exp": NOW + 60}));
    for end in ["", "\n", "\r\n"] {
        let files = Files::new();
        let keys = vec![files.key(Algorithm::HS256, "secret", format!("{SECRET}{end}"), None)];
        let authenticator = Authenticator::new(&AuthConfig { keys, ..AuthConfig::default() }).unwrap();
        assert!(authenticator.verify(&token, at(NOW)).is_ok(), "{end:?}");
    }
}

#[test]
fn a_private_key_gives_its_public_part_and_signs_only_what_it_can() {
    let (private, public) = pair();
    assert_eq!(public_key_of(private.as_bytes()).as_ref(), Ok(public));
    assert!(public_key_of(public.as_bytes()).unwrap_err().to_string().contains("is a public key"));
    let claims = TokenClaims {
        user: "ann",
        issued_at: at(NOW),
        expires_at: at(NOW + 1),
        issuer: None,
        audience: None,
        device: None,
    };
    for (key, algorithm) in [
        (private.as_str(), Algorithm::HS256),
        (public.as_str(), Algorithm::RS256),
        (SECRET, Algorithm::RS256),
        ("short", Algorithm::HS256),
    ] {
        assert!(sign(key.as_bytes(), algorithm, &claims).is_err(), "{algorithm}");
    }
}

#[test]
fn nothing_prints_a_token_or_a_secret() {
    let authenticator = with_secret(AuthConfig::default());
    let token = hs256_token(&json!({"sub": "ann", "exp": NOW + 60}));
    let verified = authenticator.verify(&token, at(NOW)).unwrap();
    let refused = authenticator.verify(&format!("{token}x"), at(NOW)).unwrap_err();
    let printed = format!("{authenticator:?} {verified:?} {refused:?} {}", refused.reason());
    let decimal = format!("{:?}", SECRET.as_bytes());
    for part in token.split('.').chain([SECRET, decimal.trim_matches(['[', ']'])]) {
        assert!(!printed.contains(part), "{printed}");
    }

    let files = Files::new();
    let problem = sign(
        b"too short a secret",
        Algorithm::HS256,
        &TokenClaims {
            user: "ann",
            issued_at: at(NOW),
            expires_at: at(NOW),
            issuer: None,
            audience: None,
            device: None,
        },
    );
    let short = vec![files.key(Algorithm::HS256, "short", "too short a secret", None)];
    let faults = Authenticator::new(&AuthConfig { keys: short, ..AuthConfig::default() });
    let printed = format!("{problem:?} {faults:?}");
    assert!(!printed.contains("too short a secret"), "{printed}");
}
