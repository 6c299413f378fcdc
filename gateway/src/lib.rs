//! Roost's gateway: sockets, the Phoenix protocol, authentication, connections, the node's hub and the HTTP API.

pub mod auth;
pub mod config;
pub mod handshake;
pub mod phoenix;
