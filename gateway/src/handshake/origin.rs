//! Which pages may connect: patterns as Phoenix's `check_origin` takes them.

use std::str::FromStr;

use hyper::HeaderMap;
use hyper::header::ORIGIN;

/// `scheme://host:port` or `//host`: what is left out matches anything, except that a scheme without a port means its
/// default port. A host `*.example.com` is `example.com` and everything below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(String),
    AtOrBelow(String),
}

/// A text is not a pattern of origins.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin pattern: write \"//example.com\", \"https://example.com:8443\" or \"https://*.example.com\""
)]
pub struct InvalidPattern(String);

impl FromStr for OriginPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let Some((scheme, host, port)) = split(text) else { return Err(InvalidPattern(text.into())) };
        let host = match host.strip_prefix("*.") {
            Some(parent) => HostPattern::AtOrBelow(parent.to_owned()),
            None => HostPattern::Exactly(host),
        };
        let (HostPattern::Exactly(name) | HostPattern::AtOrBelow(name)) = &host;
        if name.is_empty() || name.contains('*') {
            return Err(InvalidPattern(text.into()));
        }
        let port = port.or_else(|| default_port(scheme.as_deref()?));
        Ok(Self { scheme, host, port })
    }
}

impl OriginPattern {
    fn matches(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.scheme.as_deref().is_none_or(|wanted| wanted == scheme)
            && self.port.is_none_or(|wanted| Some(wanted) == port)
            && match &self.host {
                HostPattern::Exactly(wanted) => wanted == host,
                HostPattern::AtOrBelow(parent) => {
                    host.strip_suffix(parent.as_str()).is_some_and(|below| below.is_empty() || below.ends_with('.'))
                }
            }
    }
}

/// Whether the request comes from an allowed page: there is no list, it names no origin (no browser), or one pattern
/// matches. Only the first `Origin` counts.
pub(super) fn is_allowed(patterns: &[OriginPattern], headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    if patterns.is_empty() {
        return true;
    }
    let Some((Some(scheme), host, port)) = origin.to_str().ok().and_then(split) else { return false };
    let port = port.or_else(|| default_port(&scheme));
    patterns.iter().any(|pattern| pattern.matches(&scheme, &host, port))
}

/// Scheme, host and port of `scheme://host:port`, in lower case. None when there is no host, or anything beside.
fn split(text: &str) -> Option<(Option<String>, String, Option<u16>)> {
    let (scheme, rest) = text.split_once("//")?;
    let scheme = match scheme {
        "" => None,
        _ => Some(scheme.strip_suffix(':').filter(|scheme| !scheme.is_empty())?.to_ascii_lowercase()),
    };
    // An IPv6 address keeps its colons to itself.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (rest, None),
    };
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'\\'));
    is_host.then(|| (scheme, host.to_ascii_lowercase(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn allowed(patterns: &[&str], origin: &str) -> bool {
        let patterns: Vec<OriginPattern> = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        is_allowed(&patterns, &headers)
    }

    #[test]
    fn an_origin_is_compared_by_what_the_pattern_says() {
        for (pattern, origin, expected) in [
            ("//example.com", "https://example.com", true),
            ("//example.com", "http://example.com:8080", true),
            ("//example.com", "http://EXAMPLE.com", true),
            ("//Example.com", "http://example.com", true),
            ("//example.com", "http://www.example.com", false),
            ("//example.com", "http://example.com.evil.net", false),
            ("//example.com", "http://evil-example.com", false),
            ("//example.com:8080", "https://example.com:8080", true),
            ("//example.com:8080", "https://example.com", false),
            ("https://example.com", "https://example.com", true),
            ("https://example.com", "https://example.com:443", true),
            ("https://example.com", "https://example.com:8443", false),
            ("https://example.com", "http://example.com", false),
            ("https://example.com:8443", "https://example.com:8443", true),
            ("https://*.example.com", "https://example.com", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://evil-example.com", false),
            ("https://*.example.com", "https://a.example.com:444", false),
            ("//[::1]", "http://[::1]:4000", true),
            ("//[::1]:4000", "http://[::1]:4000", true),
            ("//[::1]", "http://[::2]", false),
            ("capacitor://localhost", "capacitor://localhost", true),
            ("//localhost", "null", false),
            ("//localhost", "", false),
            ("//localhost", "file://", false),
            ("//localhost", "//localhost", false),
            ("//localhost", "localhost", false),
            ("//localhost", "http://localhost/", false),
            ("//localhost", "http://user@localhost", false),
            ("//localhost", "http://localhost:port", false),
            ("//localhost", "http://localhost:99999", false),
            ("//localhost", "http://é", false),
        ] {
            assert_eq!(allowed(&[pattern], origin), expected, "{pattern} and {origin:?}");
        }
        assert!(allowed(&["//a", "//b"], "http://b"));
    }

    #[test]
    fn without_a_list_or_an_origin_nothing_is_checked_and_only_the_first_origin_counts() {
        assert!(allowed(&[], "null"));
        let patterns: Vec<OriginPattern> = vec!["//a".parse().unwrap()];
        let mut headers = HeaderMap::new();
        assert!(is_allowed(&patterns, &headers));
        headers.append(ORIGIN, HeaderValue::from_static("http://b"));
        headers.append(ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!is_allowed(&patterns, &headers));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for text in ["", "example.com", "*", "//", "//*", "//*.", "//a.*.b", "://a", "https//a", "https://a/b", "//a:x"]
        {
            assert!(text.parse::<OriginPattern>().is_err(), "{text:?}");
        }
    }
}
