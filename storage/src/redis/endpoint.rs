//! Where Redis is, out of `redis.url`.

use std::fmt;

/// A server's address. For a server inside a Cluster or behind Sentinels, as they announce it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Address {
    /// `HOST[:PORT]`, `[IPV6][:PORT]`.
    fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not HOST or HOST:PORT");
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
            None if port.is_empty() => default_port,
            None => return Err(wrong()),
        };
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// As `MOVED` and `ASK` write it: `HOST:PORT` with a bare IPv6 address; an empty host is the answering server's.
    pub(super) fn parse_redirect(text: &str, answering: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { &answering.host } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// How the primaries are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    /// The one server is it.
    Single,
    /// Sentinels know it.
    Sentinel {
        /// Under this name.
        master: String,
    },
    /// Each node knows them.
    Cluster,
}

/// `redis.url`, taken apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) mode: Mode,
    /// Never empty.
    pub(super) addresses: Vec<Address>,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

impl Endpoint {
    /// Takes a URL apart, or says what is wrong with it, without its password.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (tls, kind) = match scheme.split_once('-').unwrap_or((scheme, "")) {
            ("redis", kind) => (false, kind),
            ("rediss", kind) => (true, kind),
            _ => (false, "?"),
        };
        let (mode, default_port) = match kind {
            "" => (Mode::Single, 6379),
            "sentinel" => (Mode::Sentinel { master: String::new() }, 26379),
            "cluster" => (Mode::Cluster, 6379),
            _ => {
                return Err("must begin with redis://, redis-sentinel:// or redis-cluster://, or rediss for TLS".into());
            }
        };
        let (user, place) = rest.rsplit_once('@').map_or((None, rest), |(user, place)| (Some(user), place));
        let (username, password) = credentials(user)?;
        let (hosts, path) = place.split_once('/').unwrap_or((place, ""));
        let addresses =
            hosts.split(',').map(|host| Address::parse(host, default_port)).collect::<Result<Vec<_>, _>>()?;
        if mode == Mode::Single && addresses.len() > 1 {
            return Err("names several servers: use redis-sentinel:// or redis-cluster://".into());
        }
        let (mode, database) = match mode {
            Mode::Sentinel { .. } => {
                let (master, database) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err("must name the master behind the Sentinels: redis-sentinel://HOST:PORT/MASTER".into());
                }
                (Mode::Sentinel { master: master.to_owned() }, database)
            }
            mode => (mode, path),
        };
        let database = if database.is_empty() { Some(0) } else { database.parse().ok().filter(|number| *number >= 0) };
        let database = database.ok_or("the database must be a number")?;
        if mode == Mode::Cluster && database != 0 {
            return Err("a Cluster has no databases but 0".into());
        }
        Ok(Self { mode, addresses, tls, username, password, database })
    }
}

fn credentials(user: Option<&str>) -> Result<(Option<String>, Option<String>), String> {
    let Some(user) = user else { return Ok((None, None)) };
    let (name, password) = user.split_once(':').map_or((user, None), |(name, password)| (name, Some(password)));
    let decode = |text| percent_decode(text).ok_or("user and password must be percent-encoded UTF-8");
    let name = Some(decode(name)?).filter(|name| !name.is_empty());
    Ok((name, password.map(decode).transpose()?))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?].map(|digit| char::from(digit).to_digit(16));
                u8::try_from(digits[0]? * 16 + digits[1]?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn urls_are_taken_apart() {
        let plain = |mode, addresses: &[Address]| Endpoint {
            mode,
            addresses: addresses.to_vec(),
            tls: false,
            username: None,
            password: None,
            database: 0,
        };
        let parse = |url| Endpoint::parse(url).unwrap_or_else(|problem| panic!("{url}: {problem}"));
        assert!(parse("redis://h") == plain(Mode::Single, &[address("h", 6379)]));
        assert!(parse("redis://[::1]:7") == plain(Mode::Single, &[address("::1", 7)]));
        let cluster = plain(Mode::Cluster, &[address("a", 1), address("b", 6379)]);
        assert!(parse("redis-cluster://a:1,b") == cluster);
        assert!(parse("rediss-cluster://a:1,b") == Endpoint { tls: true, ..cluster });
        let sentinel = plain(Mode::Sentinel { master: "m".into() }, &[address("a", 1), address("b", 26379)]);
        assert!(parse("redis-sentinel://a:1,b/m") == sentinel);
        assert!(parse("redis-sentinel://a:1,b/m/3") == Endpoint { database: 3, ..sentinel });
        let whole = parse("rediss://us%40er:p%3a%25@h:9/2");
        assert_eq!((whole.username.as_deref(), whole.password.as_deref()), (Some("us@er"), Some("p:%")));
        assert_eq!((whole.tls, whole.database), (true, 2));
        assert_eq!(parse("redis://:p@h").username, None);
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for url in [
            "",
            "h:6379",
            "http://h",
            "redis+tls://h",
            "redis://",
            "redis://h:0",
            "redis://h:x",
            "redis://u:secret@",
            "redis://u:sec%zzret@h",
            "redis://a,b",
            "redis://h/x",
            "redis://h/-1",
            "redis-cluster://h/1",
            "redis-sentinel://h",
            "redis-sentinel://h/",
            "redis://[::1",
            "redis://[::1]7",
        ] {
            let Err(problem) = Endpoint::parse(url) else { panic!("{url} is taken") };
            assert!(!problem.contains("sec"), "{problem}");
        }
    }

    #[test]
    fn redirects_may_leave_the_host_out() {
        let answering = address("10.0.0.1", 1);
        let redirect = |text| Address::parse_redirect(text, &answering);
        assert_eq!(redirect("10.0.0.2:7"), Some(address("10.0.0.2", 7)));
        assert_eq!(redirect(":7"), Some(address("10.0.0.1", 7)));
        assert_eq!(redirect("2001:db8::1:7"), Some(address("2001:db8::1", 7)));
        assert_eq!(redirect("nonsense"), None);
    }
}
