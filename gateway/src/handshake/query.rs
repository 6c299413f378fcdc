//! A URL's query, by the rules of HTML forms.

/// Decoded pairs, in their order.
pub(super) struct Query(Vec<(String, String)>);

/// What a name has been given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// `name=text`.
    Text(&'a str),
    /// `name[key]=text`: a list or a map, which nothing here takes.
    Nested,
}

/// A name or a value is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, NotUtf8> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let decode = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        };
        pairs.map(decode).collect::<Result<_, _>>().map(Self)
    }

    /// What `name` was given last.
    pub(super) fn get(&self, name: &str) -> Option<Value<'_>> {
        self.0.iter().rev().find_map(|(given, value)| match given.strip_prefix(name)? {
            "" => Some(Value::Text(value)),
            rest => rest.starts_with('[').then_some(Value::Nested),
        })
    }

    /// The same, when it is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            Value::Nested => None,
        }
    }
}

/// `+` is a space and `%zz` a byte; a `%` without two hexadecimal digits stands for itself.
fn decode(text: &str) -> Result<String, NotUtf8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => match escaped(after) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &after[2..];
                }
                None => decoded.push(b'%'),
            },
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8(decoded).map_err(|_| NotUtf8)
}

fn escaped(after: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_a_form() {
        for (query, value) in [
            ("", None),
            ("&", None),
            ("b=1", None),
            ("a", Some("")),
            ("a=", Some("")),
            ("a=1", Some("1")),
            ("a=1&", Some("1")),
            ("&&a=1&&", Some("1")),
            ("a=1&b=3&a=2", Some("2")),
            ("a=1=2", Some("1=2")),
            ("a=x+y%20z", Some("x y z")),
            ("a=%2B", Some("+")),
            ("%61=1", Some("1")),
            ("a=%C3%A9", Some("é")),
            ("a=%c3%a9", Some("é")),
            ("a=é", Some("é")),
            ("a=%zz", Some("%zz")),
            ("a=%", Some("%")),
            ("a=%4", Some("%4")),
            ("a=%%41", Some("%A")),
            ("a=%+1", Some("% 1")),
            ("ab=1", None),
        ] {
            assert_eq!(Query::parse(query).unwrap().text("a"), value, "{query:?}");
        }
    }

    #[test]
    fn nested_names_are_no_text() {
        for query in ["a[b]=1", "a[]=1", "a=0&a[b]=1", "a%5Bb%5D=1"] {
            let query = Query::parse(query).unwrap();
            assert_eq!((query.get("a"), query.text("a")), (Some(Value::Nested), None));
        }
        assert_eq!(Query::parse("a[b]=1&a=2").unwrap().text("a"), Some("2"));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        for query in ["a=%ff", "%ff=1", "a=1&other=%C3", "a=%ED%A0%80"] {
            assert_eq!(Query::parse(query).err(), Some(NotUtf8), "{query}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_decoded_or_refused(query in ".*") {
            let _ = Query::parse(&query).map(|query| query.get("a").is_some());
        }

        #[test]
        fn what_a_client_encodes_arrives(value in ".*") {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("a", &value).finish();
            let query = Query::parse(&query).unwrap();
            proptest::prop_assert_eq!(query.text("a"), Some(value.as_str()));
        }
    }
}
