//! Roost's gateway: sockets, the Phoenix protocol, authentication, connections, the node's hub and the HTTP API.

mod api;
mod appender;
pub mod auth;
mod chat;
mod close;
pub mod config;
mod connection;
mod cursors;
mod following;
mod gateway;
mod handback;
pub mod handshake;
mod hub;
mod mailbox;
mod metrics;
mod node;
pub mod phoenix;
mod retry;
mod server;

pub use api::{ApiKey, HealthServer, InternalListener, Readiness};
pub use gateway::{Gateway, Parts, StartError};
