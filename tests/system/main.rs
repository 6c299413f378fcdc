//! Black-box tests of the real binary, as a child process on loopback: what clients and operators can see of it.
#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod api;
mod bad_input;
mod big_rooms;
mod connecting;
mod disk;
mod documented;
mod draining;
mod limits;
mod notifications;
mod place;
mod regressions;
mod replay;
mod resending;
mod room;
mod starting;
mod wire;
