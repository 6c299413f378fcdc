//! The Redis backend on real servers: Redis 7.0 and Valkey 9, alone, behind a Sentinel after a failover, and as a
//! Cluster of three. The servers are fetched by `make tools`; without them every test here fails and says so.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod failures;
mod fixture;
mod misfits;
mod redirects;
mod samples;

use std::sync::OnceLock;

use roost_harness::redis::{Cluster, SINGLE, Server, Software, Watched};
use roost_storage::redis::Durability;

use fixture::{Both, config};

async fn on_redis() -> Both {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(Software::Redis, SINGLE));
    Both::open(&config(&server.url(), Durability::Aof)).await
}

async fn on_valkey() -> Both {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| Server::start(Software::Valkey, SINGLE));
    Both::open(&config(&server.url(), Durability::Aof)).await
}

/// With a replica that confirms every write, after the first primary has been replaced.
async fn behind_a_sentinel() -> Both {
    static WATCHED: OnceLock<Watched> = OnceLock::new();
    let watched = WATCHED.get_or_init(|| {
        let watched = Watched::start(Software::Valkey);
        watched.fail_over();
        watched
    });
    Both::open(&config(&watched.url(), Durability::Replica)).await
}

async fn on_a_cluster() -> Both {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Cluster::start(Software::Redis));
    Both::open(&config(&cluster.url(), Durability::Aof)).await
}

mod redis_contract {
    use super::on_redis;
    roost_storage::contract_streams!(on_redis());
}

mod valkey_contract {
    use super::on_valkey;
    roost_storage::contract_streams!(on_valkey());
}

mod sentinel_contract {
    use super::behind_a_sentinel;
    roost_storage::contract_streams!(behind_a_sentinel());
}

mod cluster_contract {
    use super::on_a_cluster;
    roost_storage::contract_streams!(on_a_cluster());
}
