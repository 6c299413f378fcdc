//! Backends that are gone, slow, or refuse to write: what is sent meanwhile is refused with a reason, connections stay,
//! readiness says why, and everything goes on by itself when they are back.

mod crowded;
mod refusals;
mod scylla;
mod shutdown;
mod signs;
mod slow;
mod stage;
mod start;
mod without_redis;
