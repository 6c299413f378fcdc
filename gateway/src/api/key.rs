//! The bearer key of the API.

use std::fmt;
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use hyper::header::HeaderValue;
use roost_storage::Fault;

use super::problem::{Code, Problem};

/// Shortest key, in bytes. Nothing slows guessing down, so a key must be too long to be guessed: 16 random bytes, in
/// hexadecimal.
const BYTES_MIN: usize = 32;
const BYTES_MAX: usize = 1024;

/// The key that requests under `/v1` must bring. Only its SHA-256 is kept: comparing digests takes the same time for
/// every wrong key, of whatever length, and nothing of the key can be printed.
#[derive(Clone)]
pub struct ApiKey(digest::Digest);

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

impl ApiKey {
    /// Reads the key from a file: one line of 32 to 1024 visible ASCII characters; space around it does not count.
    ///
    /// # Errors
    /// The fault of `gateway.api_key_file`.
    pub fn load(path: &Path) -> Result<Self, Fault> {
        let fault =
            |problem| Fault { key: "gateway.api_key_file".into(), problem: format!("{} {problem}", path.display()) };
        let contents = std::fs::read(path).map_err(|error| fault(format!("can not be read: {error}")))?;
        let key = contents.trim_ascii();
        if !(BYTES_MIN..=BYTES_MAX).contains(&key.len()) {
            return Err(fault(format!("holds a key of {} bytes, not {BYTES_MIN} to {BYTES_MAX}", key.len())));
        }
        if !key.iter().all(u8::is_ascii_graphic) {
            return Err(fault("holds something else than one line of visible ASCII characters".into()));
        }
        Ok(Self(digest::digest(&digest::SHA256, key)))
    }
}

/// Whether a request with this `Authorization` may go on. Without a key nobody's may.
///
/// # Errors
/// [`Code::Unauthorized`], with what to do about it.
pub(super) fn check(key: Option<&ApiKey>, authorization: Option<&HeaderValue>) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(Code::Unauthorized, detail));
    let Some(ApiKey(key)) = key else {
        return refused("this node has no API key, so nobody may use the API: set gateway.api_key_file");
    };
    let Some(given) = authorization.and_then(bearer) else {
        return refused("send the header \"Authorization: Bearer <key>\", with the key of gateway.api_key_file");
    };
    let given = digest::digest(&digest::SHA256, given);
    if verify_slices_are_equal(key.as_ref(), given.as_ref()).is_err() {
        return refused("the key is not this node's");
    }
    Ok(())
}

fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, key) = authorization.as_bytes().split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn load(contents: &[u8]) -> Result<ApiKey, Fault> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(contents).unwrap();
        ApiKey::load(file.path())
    }

    fn is_accepted(key: &ApiKey, authorization: &str) -> bool {
        check(Some(key), Some(&HeaderValue::from_str(authorization).unwrap())).is_ok()
    }

    #[test]
    fn the_key_of_the_file_is_accepted_and_no_other() {
        let key = load(format!("{KEY}\r\n").as_bytes()).unwrap();
        assert!(is_accepted(&key, &format!("Bearer {KEY}")));
        assert!(is_accepted(&key, &format!("bearer  {KEY}")));
        let wrong =
            [format!("Bearer {KEY}0"), format!("Bearer {}", &KEY[1..]), format!("Basic {KEY}"), format!("Bearer{KEY}")];
        for wrong in wrong {
            assert!(!is_accepted(&key, &wrong), "{wrong}");
        }
        assert!(!is_accepted(&key, KEY));
        assert!(!is_accepted(&key, "Bearer "));
        assert!(!is_accepted(&key, "Bearer"));
        assert!(!is_accepted(&key, ""));
        assert_eq!(check(Some(&key), None).unwrap_err().code, Code::Unauthorized);
    }

    #[test]
    fn without_a_key_everything_is_refused_with_the_reason() {
        let authorization = HeaderValue::from_static("Bearer ");
        for given in [None, Some(&authorization)] {
            let problem = check(None, given).unwrap_err();
            assert_eq!(problem.code, Code::Unauthorized);
            assert!(problem.detail.contains("gateway.api_key_file"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_key_that_could_be_guessed_or_not_be_sent_is_a_fault() {
        for contents in ["".into(), KEY[1..].to_string(), format!("{KEY}\n{KEY}"), format!("{KEY}é"), "x".repeat(1025)]
        {
            let fault = load(contents.as_bytes()).unwrap_err();
            assert_eq!(fault.key, "gateway.api_key_file");
            assert!(!fault.problem.contains(KEY), "{fault}");
        }
        let fault = ApiKey::load(Path::new("/nonexistent/api.key")).unwrap_err();
        assert!(fault.problem.starts_with("/nonexistent/api.key can not be read"), "{fault}");
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", load(KEY.as_bytes()).unwrap()), "ApiKey(hidden)");
    }
}
