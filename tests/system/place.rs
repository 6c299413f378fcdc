//! A data directory of a test's own and the node that lives on it.

use std::path::PathBuf;

use roost_harness::{Client, Connect, Node, NodeOptions, eventually};
use tempfile::TempDir;

/// Where a node can live. Declare it before the node: a node must end before its directory goes.
pub(crate) struct Place {
    pub(crate) options: NodeOptions,
    directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = NodeOptions::new(env!("CARGO_BIN_EXE_roost"), directory.path().join("data"));
        Self { options, directory }
    }

    /// Sets a configuration key, as `gateway.idle_timeout`.
    pub(crate) fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.options = self.options.set(key, value);
        self
    }

    pub(crate) async fn start(&self) -> Node {
        match self.options.start().await {
            Ok(node) => node,
            Err(failure) => panic!("the node did not start: {} {}", failure.status, failure.stderr),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// Opens a connection of the user's phone.
pub(crate) async fn phone(node: &Node, user: &str) -> Client {
    open(node.connect(user, "phone")).await
}

/// Opens a connection of the user's tablet.
pub(crate) async fn tablet(node: &Node, user: &str) -> Client {
    open(node.connect(user, "tablet")).await
}

pub(crate) async fn open(connect: Connect) -> Client {
    connect.open().await.unwrap_or_else(|refused| panic!("not connected: {} {}", refused.status, refused.body))
}

/// Waits until every accepted message is where it belongs: pushed, or stored for those who are away.
pub(crate) async fn everything_is_routed(node: &Node) {
    eventually("everything is routed", async || {
        (node.metrics().await.metric("roost_store_log_entries") == Some(0.0)).then_some(())
    })
    .await;
}

/// Waits until nothing is stored for anybody: whatever was pushed is confirmed.
pub(crate) async fn everything_is_confirmed(node: &Node) {
    everything_is_routed(node).await;
    eventually("everything is confirmed", async || {
        let metrics = node.metrics().await;
        let left = ["roost_store_mailbox_entries", "roost_store_pending_rows"].map(|name| metrics.metric(name));
        (left == [Some(0.0); 2]).then_some(())
    })
    .await;
}

/// The user's phone comes back, once everything said so far is stored, and joins its notification topic.
pub(crate) async fn back(node: &Node, user: &str) -> Client {
    everything_is_routed(node).await;
    let mut client = phone(node, user).await;
    client.join(&notifications(user)).await;
    client
}

/// A user's notification topic.
pub(crate) fn notifications(user: &str) -> String {
    format!("notifications:{user}")
}
