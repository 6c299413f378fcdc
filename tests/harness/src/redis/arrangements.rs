//! Servers that belong together: a primary with replicas and a Sentinel, a Cluster.

use super::{Server, Software};
use crate::eventually::{eventually_blocking, free_port};

/// A server that acknowledges nothing it could lose with its process.
pub const SINGLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A primary with two replicas, watched by a Sentinel.
#[derive(Debug)]
pub struct Watched {
    /// All three; which is the primary changes.
    pub servers: Vec<Server>,
    /// Who says which.
    pub sentinel: Server,
}

impl Watched {
    /// Starts them, and waits until the replicas follow.
    pub fn start(software: Software) -> Self {
        let primary = Server::start(software, &["--repl-diskless-sync-delay", "0"]);
        let mut servers = vec![primary];
        for _ in 0..2 {
            let of = servers[0].port.to_string();
            servers
                .push(Server::start(software, &["--replicaof", "127.0.0.1", &of, "--repl-diskless-sync-delay", "0"]));
        }
        let watched = Self { sentinel: Server::start_sentinel(software, servers[0].port), servers };
        watched.until_replicated();
        watched
    }

    /// Until both replicas of the primary follow it and the Sentinel knows them.
    pub fn until_replicated(&self) {
        eventually_blocking("the replicas follow", || {
            let primary = self.primary();
            let information = self.servers[primary].command("INFO replication");
            information.matches("state=online").count() == 2
        });
        eventually_blocking("the sentinel knows the replicas", || {
            let master = self.sentinel.command("SENTINEL MASTER main");
            let fields: Vec<_> = master.lines().collect();
            let of = |name| fields.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
            of("num-slaves") == Some("2") && of("flags") == Some("master")
        });
    }

    /// Which server the Sentinel says is the primary.
    pub fn primary(&self) -> usize {
        let address = self.sentinel.command("SENTINEL GET-MASTER-ADDR-BY-NAME main");
        let port = address.lines().nth(1).and_then(|port| port.parse::<u16>().ok());
        self.servers.iter().position(|server| Some(server.port) == port).expect("it is one of ours")
    }

    /// How the server is told of them.
    pub fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }

    /// Makes another server the primary, in good order.
    pub fn fail_over(&self) {
        let old = self.primary();
        // Refused until the Sentinel has heard from the replicas themselves.
        eventually_blocking("the failover begins", || {
            self.sentinel.ask("SENTINEL FAILOVER main").is_ok_and(|answer| answer == "OK")
        });
        eventually_blocking("another primary", || self.primary() != old);
        self.until_replicated();
    }
}

/// Three primaries that share the slots, in the order of their slots, and then their replicas, if asked for.
#[derive(Debug)]
pub struct Cluster {
    /// First the primaries.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// Starts three without replicas, and waits until they know each other.
    pub fn start(software: Software) -> Self {
        Self::start_with(software, 0)
    }

    /// A replica for each primary, and one more for the first: when it is lost, its successor has one.
    pub fn start_with_replicas(software: Software) -> Self {
        let cluster = Self::start_with(software, 4);
        for (replica, primary) in cluster.servers[3..].iter().zip([0, 0, 1, 2]) {
            let id = cluster.servers[primary].command("CLUSTER MYID");
            replica.command(&format!("CLUSTER REPLICATE {id}"));
        }
        for (primary, replicas) in cluster.servers.iter().zip([2, 1, 1]) {
            eventually_blocking("the replicas follow", || {
                primary.command("INFO replication").matches("state=online").count() == replicas
            });
        }
        cluster
    }

    fn start_with(software: Software, more: usize) -> Self {
        let server = |_| {
            let bus = free_port().to_string();
            let settings = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "2000"];
            let more = ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"];
            (Server::start(software, &[&settings[..], &more].concat()), bus)
        };
        let servers: Vec<_> = (0..3 + more).map(server).collect();
        for ((server, _), slots) in servers.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            server.command(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
        }
        for (other, bus) in &servers[1..] {
            servers[0].0.command(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port));
        }
        let servers: Vec<_> = servers.into_iter().map(|(server, _)| server).collect();
        let all = format!("cluster_known_nodes:{}", servers.len());
        for server in &servers {
            eventually_blocking("the cluster is complete", || {
                let information = server.command("CLUSTER INFO");
                information.contains("cluster_state:ok") && information.contains(&all)
            });
        }
        Self { servers }
    }

    /// How the server is told of them.
    pub fn url(&self) -> String {
        // One node names the others.
        format!("redis-cluster://127.0.0.1:{}", self.servers[1].port)
    }
}
