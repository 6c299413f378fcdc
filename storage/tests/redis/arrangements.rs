//! Servers that belong together: a primary with replicas and a Sentinel, a Cluster.

use crate::server::{Server, Software, eventually, free_port};

/// A server that acknowledges nothing it could lose with its process.
pub(crate) const SINGLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// A primary with two replicas, watched by a Sentinel.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinel: Server,
}

impl Watched {
    pub(crate) fn start(software: Software) -> Self {
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
    pub(crate) fn until_replicated(&self) {
        eventually("the replicas follow", || {
            let primary = self.primary();
            let information = self.servers[primary].command("INFO replication");
            information.matches("state=online").count() == 2
        });
        eventually("the sentinel knows the replicas", || {
            let master = self.sentinel.command("SENTINEL MASTER main");
            let fields: Vec<_> = master.lines().collect();
            let of = |name| fields.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
            of("num-slaves") == Some("2") && of("flags") == Some("master")
        });
    }

    /// Which server the Sentinel says is the primary.
    pub(crate) fn primary(&self) -> usize {
        let address = self.sentinel.command("SENTINEL GET-MASTER-ADDR-BY-NAME main");
        let port = address.lines().nth(1).and_then(|port| port.parse::<u16>().ok());
        self.servers.iter().position(|server| Some(server.port) == port).expect("it is one of ours")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}/main", self.sentinel.port)
    }

    /// Makes another server the primary, in good order.
    pub(crate) fn fail_over(&self) {
        let old = self.primary();
        // Refused until the Sentinel has heard from the replicas themselves.
        eventually("the failover begins", || {
            self.sentinel.ask("SENTINEL FAILOVER main").is_ok_and(|answer| answer == "OK")
        });
        eventually("another primary", || self.primary() != old);
        self.until_replicated();
    }
}

/// Three primaries that share the slots, in the order of their slots, and then their replicas, if asked for.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start(software: Software) -> Self {
        Self::start_with(software, 0)
    }

    /// A replica for each primary, and one more for the first: when it is lost, its successor has one.
    pub(crate) fn start_with_replicas(software: Software) -> Self {
        let cluster = Self::start_with(software, 4);
        for (replica, primary) in cluster.servers[3..].iter().zip([0, 0, 1, 2]) {
            let id = cluster.servers[primary].command("CLUSTER MYID");
            replica.command(&format!("CLUSTER REPLICATE {id}"));
        }
        for (primary, replicas) in cluster.servers.iter().zip([2, 1, 1]) {
            eventually("the replicas follow", || {
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
            eventually("the cluster is complete", || {
                let information = server.command("CLUSTER INFO");
                information.contains("cluster_state:ok") && information.contains(&all)
            });
        }
        Self { servers }
    }

    pub(crate) fn url(&self) -> String {
        // One node names the others.
        format!("redis-cluster://127.0.0.1:{}", self.servers[1].port)
    }
}
