//! Durations as configuration and command line write them: a whole number and one unit, `"250ms"`, `"30s"`, `"24h"`.
//! For serde: `#[serde(with = "roost_storage::duration_text")]`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Units by size, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not a whole number directly followed by letters.
    #[error("{0:?} is not a duration: write a whole number and a unit, such as \"250ms\", \"30s\" or \"24h\"")]
    Shape(String),
    /// The letters are not a unit.
    #[error("{0:?} has no unit of time we know: use ms, s, m, h or d")]
    Unit(String),
    /// More milliseconds than 64 bits hold.
    #[error("{0:?} is too long a duration")]
    TooLong(String),
}

/// Reads a duration.
///
/// # Errors
/// [`InvalidDuration`] says what it should look like.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || unit.is_empty() || !unit.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err(InvalidDuration::Shape(text.into()));
    }
    let Some((_, milliseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(InvalidDuration::Unit(text.into()));
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*milliseconds));
    total.map(Duration::from_millis).ok_or_else(|| InvalidDuration::TooLong(text.into()))
}

/// Writes a duration with the largest unit that divides it: what [`parse`] reads back. Less than a millisecond is
/// dropped.
pub fn format(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds == 0 {
        return "0s".into();
    }
    let (unit, size) = UNITS
        .iter()
        // Only what reads well for windows and timeouts: "24h", "60s", not "1d", "1m".
        .filter(|(name, _)| !matches!(*name, "d" | "m"))
        .find(|(_, size)| milliseconds.is_multiple_of(u128::from(*size)))
        .expect("the last unit divides everything");
    format!("{}{unit}", milliseconds / u128::from(*size))
}

/// For serde's `with`.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// For serde's `with`.
///
/// # Errors
/// When it is not a text, or not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, milliseconds, written) in [
            ("250ms", 250, "250ms"),
            ("30s", 30_000, "30s"),
            ("90s", 90_000, "90s"),
            ("60s", 60_000, "60s"),
            ("2m", 120_000, "120s"),
            ("1h", 3_600_000, "1h"),
            ("24h", 86_400_000, "24h"),
            ("2d", 172_800_000, "48h"),
            ("0s", 0, "0s"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(format(duration), written, "{text}");
            assert_eq!(parse(written), Ok(duration), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_reason() {
        for text in ["", "30", "s", "-1s", "1.5h", "1h30m", " 1s", "1 s", "1s ", "٣s", "1µs"] {
            assert_eq!(parse(text), Err(InvalidDuration::Shape(text.into())), "{text:?}");
        }
        for text in ["1w", "1S", "1sec", "5min"] {
            assert_eq!(parse(text), Err(InvalidDuration::Unit(text.into())), "{text:?}");
        }
        for text in ["18446744073709551616ms", "18446744073709551615s"] {
            assert_eq!(parse(text), Err(InvalidDuration::TooLong(text.into())), "{text:?}");
        }
        assert!(parse("30").unwrap_err().to_string().contains("\"30s\""));
    }
}
