//! A cluster of a test's own on the shared servers, and clients of it.

use roost_harness::Client;
use roost_harness::cluster::{Cluster, ClusterOptions, Gateway, Servers};

/// On the servers that all tests share.
pub(crate) fn options() -> ClusterOptions<'static> {
    ClusterOptions::new(env!("CARGO_BIN_EXE_roost"), Servers::shared())
}

pub(crate) async fn cluster() -> Cluster<'static> {
    options().start().await
}

/// Opens a connection of the user's phone.
pub(crate) async fn phone(gateway: &Gateway, user: &str) -> Client {
    open(gateway, user, "phone").await
}

pub(crate) async fn open(gateway: &Gateway, user: &str, device: &str) -> Client {
    let opened = gateway.connect(user, device).open().await;
    opened.unwrap_or_else(|refused| panic!("not connected: {} {}", refused.status, refused.body))
}

/// The user's phone comes and joins its notification topic.
pub(crate) async fn listener(gateway: &Gateway, user: &str) -> Client {
    let mut client = phone(gateway, user).await;
    client.join(&notifications(user)).await;
    client
}

/// The user's phone comes and joins these chats.
pub(crate) async fn visitor<const N: usize>(gateway: &Gateway, user: &str, chats: [&str; N]) -> Client {
    let mut client = phone(gateway, user).await;
    for chat in chats {
        client.join(&format!("chat:{chat}")).await;
    }
    client
}

/// A user's notification topic.
pub(crate) fn notifications(user: &str) -> String {
    format!("notifications:{user}")
}
