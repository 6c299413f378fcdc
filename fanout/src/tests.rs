//! Fanout on the embedded store: routing, crashes between any two side effects, leases, the reaper, and the hand-off
//! between fanout and gateways as a property, which also runs on a real server.

mod crashes;
mod handoff;
mod hooked;
mod leases;
mod reaping;
mod rig;
mod rooms;
mod routing;
