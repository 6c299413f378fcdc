//! Queries, read strictly: what is not understood is an error.

use std::ops::RangeInclusive;

use roost_storage::InvalidId;

use crate::api::problem::{Code, Problem};

/// The parameters not taken yet.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    /// [`Code::InvalidQuery`] when it is not percent-encoded UTF-8, or names a parameter twice.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (form_decoded(name), form_decoded(value)) else {
                return Err(invalid("it is not UTF-8 written with percent signs"));
            };
            if parameters.iter().any(|(earlier, _)| *earlier == name) {
                return Err(invalid(format!("{name:?} is given twice")));
            }
            parameters.push((name, value));
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(given, _)| given == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A number within its limits.
    pub(super) fn number(&mut self, name: &str, limits: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && limits.contains(number));
        let wanted = || invalid(format!("{name:?} must be a number from {} to {}", limits.start(), limits.end()));
        number.map(Some).ok_or_else(wanted)
    }

    /// An id.
    pub(super) fn id<T>(
        &mut self,
        name: &str,
        new: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.take(name) else { return Ok(None) };
        new(text).map(Some).map_err(|error| invalid(format!("{name:?}: {error}")))
    }

    /// # Errors
    /// [`Code::InvalidQuery`] when a parameter was not taken.
    pub(super) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(invalid(format!("there is no parameter {name:?} here"))),
        }
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidQuery, detail)
}

fn form_decoded(text: &str) -> Option<String> {
    percent_decoded(&text.replace('+', " "))
}

/// Undoes percent-encoding; none when a percent sign has no two hexadecimal digits, or the bytes are not UTF-8. Stricter
/// than the usual decoders, which guess: a guessed id would be somebody else's.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        decoded.push(if byte == b'%' { hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)? } else { byte });
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    Some(u8::try_from(digit).expect("a hexadecimal digit is below 16"))
}
