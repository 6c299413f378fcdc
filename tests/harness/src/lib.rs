//! What the whole-system tests stand on: real nodes as child processes, clients that speak the wire, and a checker that
//! compares what was sent with what was seen. Shares no code with the server, so that no mistake can be made twice.

pub mod checker;
pub mod client;
mod eventually;
mod frame;
mod http;
mod node;
mod raw;

pub use client::{Client, Connect, Refused};
pub use eventually::{PATIENCE, eventually};
pub use frame::{Frame, Version};
pub use http::{Answer, request};
pub use node::{Node, NodeOptions, StartFailure};
pub use raw::RawSocket;
