//! What a process says of itself to probes.

use std::net::SocketAddr;

use roost_harness::{eventually, request};
use serde_json::Value;

/// Waits until `/readyz` is 503 and gives this reason.
pub(super) async fn is_not_ready(api: SocketAddr, reason: &str) {
    let said = |body: &Value| body.to_string().contains(reason);
    eventually(&format!("it is not ready: {reason}"), async || {
        let answer = request(api, "GET", "/readyz", &[], "").await.ok()?;
        (answer.status == 503 && said(&answer.json())).then_some(())
    })
    .await;
    is_alive(api).await;
}

/// Waits until `/readyz` is 200.
pub(super) async fn is_ready(api: SocketAddr) {
    eventually("it is ready", async || {
        let answer = request(api, "GET", "/readyz", &[], "").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn is_alive(api: SocketAddr) {
    assert_eq!(request(api, "GET", "/livez", &[], "").await.unwrap().status, 200);
}
