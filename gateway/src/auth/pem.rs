//! PEM (RFC 7468): the text form of keys. One block, no headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Characters of base64 in one line.
const LINE: usize = 64;

/// The text form of `der` under `label`.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// Label and contents of the first block. Text before it is a comment.
pub(super) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (label, after) = after.split_once("-----")?;
    let (body, after) = after.split_once("-----END ")?;
    if !after.starts_with(label) {
        return None;
    }
    let body: String = body.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(body).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [0, 1, 47, 48, 49, 300] {
            let der = vec![7; length];
            let text = encode("PUBLIC KEY", &der);
            assert!(text.lines().all(|line| line.len() <= LINE));
            assert_eq!(decode(&text), Some(("PUBLIC KEY", der)));
        }
        assert_eq!(decode("my key\r\n-----BEGIN A-----\r\nAQID\r\n-----END A-----\r\n"), Some(("A", vec![1, 2, 3])));
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        for text in
            ["", "-----BEGIN A-----", "-----BEGIN A-----\n!\n-----END A-----", "-----BEGIN A-----\n-----END B-----"]
        {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
