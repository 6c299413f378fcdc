//! How many copies of each row there are, and where.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// Replication of the keyspace. Written as a number, the copies in the local datacenter: `3`; or as a table of
/// datacenters: `{ east = 3, west = 3 }`; or as the map of CQL: `{'class': 'SimpleStrategy', 'replication_factor': 1}`.
/// The last two may be a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// Copies in the local datacenter.
    Factor(u16),
    /// Options of the strategy. Without a `class` it is `NetworkTopologyStrategy`.
    Options(BTreeMap<String, String>),
}

/// What a text, number or table must be to be a replication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of copies, or a table of datacenters and their numbers, such as {{ east = 3, west = 3 }}")]
pub struct InvalidReplication;

const NETWORK_TOPOLOGY: &str = "NetworkTopologyStrategy";

impl Replication {
    /// As the value of `replication` in a CREATE KEYSPACE statement.
    pub(super) fn cql(&self, local_datacenter: &str) -> String {
        let (mut class, mut options) = (NETWORK_TOPOLOGY, Vec::new());
        match self {
            Self::Factor(factor) => options.push(format!("'{local_datacenter}': {factor}")),
            Self::Options(map) => {
                class = map.get("class").map_or(NETWORK_TOPOLOGY, String::as_str);
                let others = map.iter().filter(|(name, _)| *name != "class");
                options.extend(others.map(|(name, value)| format!("'{name}': '{value}'")));
            }
        }
        format!("{{'class': '{class}', {}}}", options.join(", "))
    }

    fn options(table: serde_json::Map<String, Value>) -> Result<Self, InvalidReplication> {
        let harmless = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte))
        };
        let option = |(name, value): (String, Value)| {
            let value = match value {
                Value::Number(number) => number.to_string(),
                Value::String(text) => text,
                _ => return Err(InvalidReplication),
            };
            let counts = name == "class" || value.parse().is_ok_and(|copies: u16| copies > 0);
            if harmless(&name) && harmless(&value) && counts { Ok((name, value)) } else { Err(InvalidReplication) }
        };
        let map: BTreeMap<_, _> = table.into_iter().map(option).collect::<Result<_, _>>()?;
        if map.keys().any(|name| name != "class") { Ok(Self::Options(map)) } else { Err(InvalidReplication) }
    }

    fn of(value: Value) -> Result<Self, InvalidReplication> {
        match value {
            Value::Number(number) => number.to_string().parse(),
            Value::String(text) => text.parse(),
            Value::Object(table) => Self::options(table),
            _ => Err(InvalidReplication),
        }
    }
}

impl FromStr for Replication {
    type Err = InvalidReplication;

    fn from_str(text: &str) -> Result<Self, InvalidReplication> {
        if let Ok(factor) = text.trim().parse() {
            return if factor > 0 { Ok(Self::Factor(factor)) } else { Err(InvalidReplication) };
        }
        // CQL writes maps as JSON does, but for the quotes.
        let table = serde_json::from_str(&text.replace('\'', "\"")).map_err(|_| InvalidReplication)?;
        Self::options(table)
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Factor(factor) => factor.fmt(f),
            Self::Options(map) => {
                let options: Vec<_> = map.iter().map(|(name, value)| format!("'{name}': '{value}'")).collect();
                write!(f, "{{{}}}", options.join(", "))
            }
        }
    }
}

/// A text, whatever it is, so that an environment variable can set it.
impl Serialize for Replication {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Replication {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_writing_it_is_read_and_written_back() {
        for (json, cql) in [
            ("3", "{'class': 'NetworkTopologyStrategy', 'here': 3}"),
            (r#""3""#, "{'class': 'NetworkTopologyStrategy', 'here': 3}"),
            (r#"{"east": 3, "west": "2"}"#, "{'class': 'NetworkTopologyStrategy', 'east': '3', 'west': '2'}"),
            (r#""{\"east\": 3}""#, "{'class': 'NetworkTopologyStrategy', 'east': '3'}"),
            (
                r#""{'class': 'SimpleStrategy', 'replication_factor': 1}""#,
                "{'class': 'SimpleStrategy', 'replication_factor': '1'}",
            ),
        ] {
            let replication: Replication = serde_json::from_str(json).unwrap();
            assert_eq!(replication.cql("here"), cql, "{json}");
            let written = serde_json::to_string(&replication).unwrap();
            assert_eq!(serde_json::from_str::<Replication>(&written).unwrap(), replication, "{written}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [
            "0",
            "-1",
            "1.5",
            "70000",
            "true",
            "[3]",
            "{}",
            r#""""#,
            r#""three""#,
            r#"{"class": "SimpleStrategy"}"#,
            r#"{"east": 0}"#,
            r#"{"east": "x"}"#,
            r#"{"ea'st": 3}"#,
            r#"{"class": "a'b", "east": 3}"#,
            r#""{'a'}""#,
        ] {
            let error = serde_json::from_str::<Replication>(json).unwrap_err();
            assert!(error.to_string().starts_with("must be a number of copies"), "{json}: {error}");
        }
    }
}
