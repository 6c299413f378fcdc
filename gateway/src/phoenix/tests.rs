//! The wire through a toy application: exact frames in, exact frames out.

mod equality;
mod events;
mod lifecycle;
mod parsing;
mod properties;
mod sending;
mod toy;
mod v1;
mod vsn;
