//! Which primary owns which slot: from the URL, from Sentinels, or from the nodes of a Cluster.

use redis::Value;
use redis::aio::{ConnectionLike, MultiplexedConnection};

use super::connect::Connector;
use super::endpoint::{Address, Endpoint, Mode};
use super::error::{Fault, answered};
use super::keys::SLOTS;
use super::records::{fixed, text, texts};

/// Who owns what. Ranges do not overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Topology {
    ranges: Vec<(u16, u16, Address)>,
}

impl Topology {
    fn one(address: Address) -> Self {
        Self { ranges: vec![(0, SLOTS - 1, address)] }
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, address)| address)
    }

    /// Every primary, once.
    pub(super) fn primaries(&self) -> Vec<Address> {
        let mut primaries: Vec<Address> = Vec::new();
        for (_, _, address) in &self.ranges {
            if !primaries.contains(address) {
                primaries.push(address.clone());
            }
        }
        primaries
    }
}

/// Asks who owns what. `known`: primaries of an earlier answer, asked besides those of the URL.
pub(super) async fn discover(connector: &Connector, endpoint: &Endpoint, known: &Topology) -> Result<Topology, Fault> {
    let ask = async |address: &Address| match &endpoint.mode {
        Mode::Single => Ok(Topology::one(address.clone())),
        Mode::Sentinel { master } => {
            let mut connection = connector.connect_sentinel(address).await?;
            ask_sentinel(&mut connection, master).await.map(Topology::one)
        }
        Mode::Cluster => {
            let mut connection = connector.connect(address, connector.command_timeout).await?;
            ask_cluster(&mut connection, address).await
        }
    };
    let mut asked = endpoint.addresses.clone();
    if endpoint.mode == Mode::Cluster {
        asked.extend(known.primaries());
    }
    let mut fault = Fault::NoPrimary;
    for address in &asked {
        match ask(address).await {
            Ok(topology) => return Ok(topology),
            Err(error) => fault = error,
        }
    }
    Err(fault)
}

async fn ask_sentinel(connection: &mut MultiplexedConnection, master: &str) -> Result<Address, Fault> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer = answered(connection.req_packed_command(&command).await.map_err(Fault::of)?)?;
    if answer == Value::Nil {
        return Err(Fault::NoPrimary);
    }
    let place = texts(answer).and_then(|texts| <[String; 2]>::try_from(texts).ok());
    let [host, port] = place.ok_or(Fault::Answer("SENTINEL"))?;
    Ok(Address { host, port: port.parse().map_err(|_| Fault::Answer("SENTINEL"))? })
}

async fn ask_cluster(connection: &mut MultiplexedConnection, asked: &Address) -> Result<Topology, Fault> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = answered(connection.req_packed_command(&command).await.map_err(Fault::of)?)?;
    let topology = slot_ranges(answer, asked).ok_or(Fault::Answer("CLUSTER SLOTS"))?;
    if topology.ranges.is_empty() {
        return Err(Fault::NoPrimary);
    }
    Ok(topology)
}

/// Each range is its first and last slot, then its primary (host, port, id and more), then its replicas.
fn slot_ranges(answer: Value, asked: &Address) -> Option<Topology> {
    let Value::Array(ranges) = answer else { return None };
    let range = |range| {
        let Value::Array(range) = range else { return None };
        let mut range = range.into_iter();
        let mut number = || match range.next() {
            Some(Value::Int(number)) => u16::try_from(number).ok(),
            _ => None,
        };
        let (first, last) = (number()?, number()?);
        let Some(Value::Array(mut primary)) = range.next() else { return None };
        primary.truncate(2);
        let [host, Value::Int(port)] = fixed(Value::Array(primary))? else { return None };
        // Empty or null: the address that was asked.
        let host = text(host).filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.host.clone());
        Some((first, last, Address { host, port: u16::try_from(port).ok()? }))
    };
    ranges.into_iter().map(range).collect::<Option<_>>().map(|ranges| Topology { ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn cluster_slots_are_read_with_and_without_hosts() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), bulk("id"), Value::Array(vec![])]);
        let range =
            |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let answer = Value::Array(vec![
            range(0, 99, vec![node(bulk("a"), 1), node(bulk("replica"), 2)]),
            range(100, 16383, vec![node(Value::Nil, 3)]),
            range(200, 300, vec![node(bulk("a"), 1)]),
        ]);
        let asked = Address { host: "asked".into(), port: 9 };
        let topology = slot_ranges(answer, &asked).unwrap();
        assert_eq!(topology.owner(99).unwrap().to_string(), "a:1");
        assert_eq!(topology.owner(100).unwrap().to_string(), "asked:3");
        assert_eq!(topology.primaries().len(), 2);
        assert_eq!(slot_ranges(Value::Okay, &asked), None);
        assert_eq!(slot_ranges(Value::Array(vec![Value::Int(1)]), &asked), None);
    }
}
