//! `Sec-WebSocket-Protocol`: the subprotocols a client offers, and the token phoenix.js hides among them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::HeaderMap;
use hyper::header::SEC_WEBSOCKET_PROTOCOL;

/// What an entry that carries a token starts with. What follows is base64, without padding, of the token: in the
/// standard alphabet, whatever the name says.
const TOKEN_PREFIX: &str = "base64url.bearer.phx.";

/// The one subprotocol there is.
const PHOENIX: &str = "phoenix";

/// What a client offers.
pub(super) struct Offer {
    /// The token, when exactly one entry carries one.
    pub(super) token: Option<String>,
    /// Whether there are entries beside it.
    others: bool,
    /// Whether one of them is `phoenix`.
    phoenix: bool,
}

/// The token's entry does not hold base64 of a text.
#[derive(Debug)]
pub(super) struct Garbage;

/// The client insists on a subprotocol, and we speak none of those it offers.
#[derive(Debug)]
pub(super) struct NoneSupported;

pub(super) fn read(headers: &HeaderMap) -> Result<Offer, Garbage> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    // What is not visible ASCII is no subprotocol of ours either; it stays an entry that we do not speak.
    let entries = values.flat_map(|value| value.to_str().unwrap_or("?").split(','));
    let entries: Vec<&str> = entries.map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let mut encoded = entries.iter().filter_map(|entry| entry.strip_prefix(TOKEN_PREFIX));
    let token = match (encoded.next(), encoded.next()) {
        (Some(encoded), None) => Some(decode(encoded)?),
        _ => None,
    };
    let tokens = usize::from(token.is_some());
    Ok(Offer { token, others: entries.len() > tokens, phoenix: entries.contains(&PHOENIX) })
}

impl Offer {
    /// What the answer must echo: never the token's entry.
    pub(super) fn answer(&self) -> Result<Option<&'static str>, NoneSupported> {
        match (self.phoenix, self.others) {
            (true, _) => Ok(Some(PHOENIX)),
            (false, false) => Ok(None),
            (false, true) => Err(NoneSupported),
        }
    }
}

fn decode(encoded: &str) -> Result<String, Garbage> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let standard = GeneralPurpose::new(&alphabet::STANDARD, config).decode(encoded);
    let bytes = standard.or_else(|_| GeneralPurpose::new(&alphabet::URL_SAFE, config).decode(encoded));
    String::from_utf8(bytes.map_err(|_| Garbage)?).map_err(|_| Garbage)
}
