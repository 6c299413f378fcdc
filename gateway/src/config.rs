//! The gateway's part of the configuration.
