//! JSON text as it stands: compared and compacted token by token, without building values.
//!
//! Every text here has been validated by serde_json; on any other text the answers mean nothing, but nothing panics.

use std::borrow::Cow;

/// Whether two JSON texts are the same value, strictly: `1`, `"1"` and `1.0` all differ.
///
/// Escapes, white space and the spelling of a float make no difference. The order of an object's members does: Phoenix
/// calls those equal, but no client spells one reference in two ways, and so this needs no memory.
pub(super) fn same_value(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    let (mut left, mut right) = (tokens(left), tokens(right));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if same_token(one, other) => {}
            _ => return false,
        }
    }
}

/// The text without white space between its tokens.
pub(super) fn compact(text: &str) -> Cow<'_, str> {
    let is_compound = text.starts_with(['[', '{']);
    if is_compound && text.contains(is_space) { Cow::Owned(tokens(text).collect()) } else { Cow::Borrowed(text) }
}

/// The text of a JSON string, borrowed when it has no escapes; `None` for another type, or a lone surrogate.
pub(super) fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn same_token(left: &str, right: &str) -> bool {
    if left == right {
        return true;
    }
    match (kind(left), kind(right)) {
        (Kind::String, Kind::String) => string(left).is_some_and(|left| Some(left) == string(right)),
        // The two spellings of zero are the only ones an integer has.
        (Kind::Integer, Kind::Integer) => ["0", "-0"].contains(&left) && ["0", "-0"].contains(&right),
        (Kind::Float, Kind::Float) => match (left.parse::<f64>(), right.parse::<f64>()) {
            (Ok(left), Ok(right)) => left.is_finite() && left == right,
            _ => false,
        },
        _ => false,
    }
}

#[derive(PartialEq)]
enum Kind {
    String,
    Integer,
    Float,
    Other,
}

fn kind(token: &str) -> Kind {
    match token.as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'-' | b'0'..=b'9') if token.contains(['.', 'e', 'E']) => Kind::Float,
        Some(b'-' | b'0'..=b'9') => Kind::Integer,
        _ => Kind::Other,
    }
}

fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(is_space);
        let token_bytes = match rest.as_bytes().first()? {
            b'"' => string_bytes(rest),
            b'[' | b']' | b'{' | b'}' | b',' | b':' => 1,
            _ => {
                rest.find(|c| is_space(c) || matches!(c, '"' | '[' | ']' | '{' | '}' | ',' | ':')).unwrap_or(rest.len())
            }
        };
        let (token, after) = rest.split_at(token_bytes);
        rest = after;
        Some(token)
    })
}

/// The length of the string that `text` begins with, both quotes included.
fn string_bytes(text: &str) -> usize {
    let mut is_escaped = false;
    let closing = text.bytes().skip(1).position(|byte| {
        let is_closing = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_closing
    });
    closing.map_or(text.len(), |position| position + 2)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\n' | '\r' | '\t')
}
