//! The gateway's part of the configuration: `[gateway]`, `[auth]` and `[chats]`. Every default stands here and nowhere
//! else. Sizes are bytes; durations are written `"30s"`. Not here: reading files, environment and flags.

mod auth;
mod chats;
mod gateway;

pub use auth::{Algorithm, AuthConfig, KeyConfig};
pub use chats::ChatsConfig;
pub use gateway::GatewayConfig;
pub(crate) use gateway::is_language_tag;
