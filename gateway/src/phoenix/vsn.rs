//! The choice of a serializer from the `vsn` parameter of the connect.

use super::Serializer;

impl Serializer {
    /// The serializer for a `vsn`: V1 for `~> 1.0.0` and for none at all, V2 for `~> 2.0.0`; `None` is to be refused.
    ///
    /// A `vsn` is strict SemVer: three numbers without leading zeros. A pre-release of 2.0.0 sorts below it and is
    /// refused; one of 2.0.1 is not. Build data makes no difference, but must be well formed.
    pub fn negotiate(vsn: Option<&str>) -> Option<Serializer> {
        let (version, build) = split_optional(vsn.unwrap_or("1.0.0"), '+');
        let (numbers, pre_release) = split_optional(version, '-');
        let mut numbers = numbers.split('.');
        let (major, minor, patch) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let is_well_formed = numbers.next().is_none()
            && [major, minor, patch].into_iter().all(is_number)
            && pre_release.is_none_or(|labels| labels.split('.').all(is_pre_release_label))
            && build.is_none_or(|labels| labels.split('.').all(is_label));
        let sorts_below_its_numbers = patch == "0" && pre_release.is_some();
        if !is_well_formed || sorts_below_its_numbers {
            return None;
        }
        match (major, minor) {
            ("1", "0") => Some(Serializer::V1),
            ("2", "0") => Some(Serializer::V2),
            _ => None,
        }
    }
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_pre_release_label(text: &str) -> bool {
    is_label(text) && (!is_digits(text) || is_number(text))
}
