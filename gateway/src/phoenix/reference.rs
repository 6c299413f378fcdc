//! The opaque references of the protocol: `ref` and `join_ref`.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::json;

/// A `ref` or `join_ref`: any JSON value, given back as it came; `null` when absent.
///
/// Equality is strict: `1`, `"1"` and `1.0` all differ, `"a"` and `"\u0061"` do not. A clone never copies more than a few
/// bytes, and a reference never takes more memory than the frame it came in.
#[derive(Clone)]
pub struct Ref(Text);

/// What fits beside the length in the space of a shared text; every common client's references do.
const INLINE_BYTES_MAX: usize = 22;

#[derive(Clone)]
enum Text {
    Inline { bytes: u8, text: [u8; INLINE_BYTES_MAX] },
    Shared(Arc<str>),
}

impl Ref {
    /// The absent reference.
    pub const NULL: Ref = Ref::inline(b"null");

    /// The reference as JSON text, compact.
    pub fn as_json(&self) -> &str {
        match &self.0 {
            Text::Inline { bytes, text } => {
                std::str::from_utf8(&text[..usize::from(*bytes)]).expect("inline text is copied from a str, whole")
            }
            Text::Shared(text) => text,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.as_json() == "null"
    }

    /// This reference, or `other` when this one is `null`.
    pub fn or(&self, other: &Ref) -> Ref {
        if self.is_null() { other.clone() } else { self.clone() }
    }

    const fn inline(json: &[u8]) -> Ref {
        let mut text = [0; INLINE_BYTES_MAX];
        text.split_at_mut(json.len()).0.copy_from_slice(json);
        Ref(Text::Inline { bytes: json.len() as u8, text })
    }
}

impl From<&RawValue> for Ref {
    fn from(value: &RawValue) -> Self {
        let json = json::compact(value.get());
        if json.len() <= INLINE_BYTES_MAX { Ref::inline(json.as_bytes()) } else { Ref(Text::Shared(json.into())) }
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        json::same_value(self.as_json(), other.as_json())
    }
}

impl Eq for Ref {}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.as_json())
    }
}
