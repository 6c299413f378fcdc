//! What the whole-system tests stand on: real nodes and real
//! Redis and Cassandra servers as child processes, clients that speak the wire, and a checker that
//! compares what was sent with what was seen. Shares no code with the server, so that no mistake can be made twice.

pub mod cassandra;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod crowd;
mod eventually;
mod frame;
mod http;
mod node;
mod process;
pub mod proxy;
mod raw;
pub mod redis;

pub use client::{Client, Connect, Refused};
pub use eventually::{PATIENCE, eventually, eventually_blocking, free_port};
pub use frame::{Frame, Version};
pub use http::{Answer, request};
pub use node::{Node, NodeOptions};
pub use process::{Process, StartFailure};
pub use raw::RawSocket;
