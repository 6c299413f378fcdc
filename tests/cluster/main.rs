//! Whole clusters of real processes on a real Redis and a real Cassandra: what clients and operators see of several
//! gateways and fanouts, also when these come, go and die. The servers are fetched by `make tools`; without them every
//! test here fails and says so.
#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod api;
mod degradation;
mod fanouts;
mod gateways;
mod load;
mod messages;
mod place;
mod rooms;
