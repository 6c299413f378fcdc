//! Where the load goes, and as whom: loopback addresses only, tokens signed here.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use tokio_tungstenite::tungstenite::http::Uri;

/// Tokens outlive the longest run.
const TOKEN_TTL: Duration = Duration::from_secs(3600);

pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    base: String,
    key: EncodingKey,
    algorithm: Algorithm,
    /// Makes users and chats of this run different from those of every other.
    run: String,
}

impl Target {
    /// # Errors
    /// When the address is not this machine's, or there is no key to sign with.
    pub(crate) fn new(url: &str, key: &Path) -> anyhow::Result<Self> {
        let address = loopback(url)?;
        let text = std::fs::read(key).with_context(|| format!("the key {} can not be read", key.display()))?;
        let (algorithm, key) = if text.starts_with(b"-----BEGIN") {
            let rsa = EncodingKey::from_rsa_pem(&text);
            (Algorithm::RS256, rsa.with_context(|| format!("{} is not a private RSA key", key.display()))?)
        } else {
            (Algorithm::HS256, EncodingKey::from_secret(text.trim_ascii()))
        };
        let run = format!("{:x}", since_epoch(SystemTime::now()).as_millis());
        Ok(Self { address, base: url.trim_end_matches('/').to_owned(), key, algorithm, run })
    }

    pub(crate) fn user(&self, number: u32) -> String {
        format!("swarm-{}-{number}", self.run)
    }

    pub(crate) fn chat_topic(&self, number: u32) -> String {
        format!("chat:swarm-{}-{number}", self.run)
    }

    /// The address to open a socket of `user` at.
    ///
    /// # Errors
    /// When the key can not sign.
    pub(crate) fn socket_url(&self, user: &str) -> anyhow::Result<String> {
        #[derive(Serialize)]
        struct Claims<'a> {
            sub: &'a str,
            iat: u64,
            exp: u64,
        }
        let now = since_epoch(SystemTime::now());
        let claims = Claims { sub: user, iat: now.as_secs(), exp: (now + TOKEN_TTL).as_secs() };
        let token = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.key)
            .context("the key can not sign a token")?;
        Ok(format!("{}/websocket?vsn=2.0.0&device_unique_id=swarm&token={token}", self.base))
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The address a URL names, if all it may mean is this machine.
fn loopback(url: &str) -> anyhow::Result<SocketAddr> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
    ensure!(uri.scheme_str() == Some("ws"), "{url}: only ws:// is spoken");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let found = (host, uri.port_u16().unwrap_or(80)).to_socket_addrs();
    let addresses: Vec<_> = found.with_context(|| format!("{url}: no such host"))?.collect();
    let is_here = !addresses.is_empty() && addresses.iter().all(|address| address.ip().is_loopback());
    ensure!(is_here, "{url} is not on this machine: load goes to loopback addresses only");
    // A node listens on 127.0.0.1 unless told otherwise, and `localhost` may name both.
    Ok(*addresses.iter().find(|address| address.is_ipv4()).unwrap_or(&addresses[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loaded() {
        assert_eq!(loopback("ws://127.0.0.1:4000/socket").unwrap(), ([127, 0, 0, 1], 4000).into());
        assert!(loopback("ws://[::1]:4000/socket").unwrap().ip().is_loopback());
        for elsewhere in ["ws://192.0.2.1:4000/socket", "ws://0.0.0.0:4000/socket", "wss://127.0.0.1/socket", "ws://"] {
            assert!(loopback(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
