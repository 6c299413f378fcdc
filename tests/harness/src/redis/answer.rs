//! Reads answers of the Redis protocol, as much of it as tests ask for.

use std::io::{BufRead, Error, ErrorKind, Result};

/// One answer, flat: errors begin with `-`, list elements are lines.
pub(crate) fn read_answer(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else { return Err(ErrorKind::UnexpectedEof.into()) };
    let length = || rest.parse::<i64>().map_err(|_| Error::from(ErrorKind::InvalidData));
    match kind {
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok("nil".to_owned()) };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        "*" => {
            let elements: Result<Vec<_>> = (0..length()?.max(0)).map(|_| read_answer(reader)).collect();
            Ok(elements?.join("\n"))
        }
        "-" => Ok(line.to_owned()),
        _ => Ok(rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Option<String> {
        read_answer(&mut bytes).ok()
    }

    #[test]
    fn answers_of_every_kind_are_read_flat() {
        assert_eq!(read(b"+OK\r\n").as_deref(), Some("OK"));
        assert_eq!(read(b":7\r\n").as_deref(), Some("7"));
        assert_eq!(read(b"-ERR no\r\n").as_deref(), Some("-ERR no"));
        assert_eq!(read(b"$4\r\na\r\nb\r\n").as_deref(), Some("a\r\nb"));
        assert_eq!(read(b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n").as_deref(), Some("a\n1\nnil"));
        assert_eq!(read(b"$4\r\nab"), None, "cut short");
        assert_eq!(read(b""), None);
    }
}
