//! Who gets a connection, by which paths and with which proofs.

use roost_harness::{Version, request};

use crate::place::{Place, notifications, open, phone};

#[tokio::test]
async fn every_path_of_the_socket_takes_a_connection() {
    let place = Place::new();
    let node = place.start().await;
    for path in ["/socket/websocket", "/socket/websocket/", "/socket//websocket", "/socket", "/socket/"] {
        let mut client = open(node.connect("ann", "phone").path(path)).await;
        client.join(&notifications("ann")).await;
    }
    let lost = node.connect("ann", "phone").path("/elsewhere").open().await.unwrap_err();
    assert_eq!(lost.status, 404);
}

#[tokio::test]
async fn token_is_taken_from_query_subprotocol_and_header() {
    let place = Place::new();
    let node = place.start().await;
    let token = node.token("ann", "phone");
    let connect = node.connect("ann", "phone").parameter("token", None);
    let header = connect.clone().header("authorization", &format!("Bearer {token}"));
    for connect in [node.connect("ann", "phone"), connect.token_as_subprotocol(&token), header] {
        open(connect).await.join(&notifications("ann")).await;
    }
}

#[tokio::test]
async fn connect_without_good_proof_is_refused_with_403_and_gives_nothing_away() {
    let place = Place::new();
    let node = place.start().await;
    let elsewhere = Place::new();
    let other = elsewhere.start().await;
    let good = node.token("ann", "phone");
    let (head, _) = good.rsplit_once('.').unwrap();
    let unsigned = format!("{head}.");
    let foreign = other.token("ann", "phone");
    let connect = node.connect("ann", "phone");
    for (what, connect) in [
        ("no token", connect.clone().parameter("token", None)),
        ("empty token", connect.clone().parameter("token", Some(""))),
        ("no JWT", connect.clone().parameter("token", Some("abc"))),
        ("no signature", connect.clone().parameter("token", Some(&unsigned))),
        ("another server's key", connect.clone().parameter("token", Some(&foreign))),
        ("another device than the token's", connect.clone().parameter("device_unique_id", Some("tablet"))),
        ("no device", connect.clone().parameter("device_unique_id", None)),
        ("empty device", connect.clone().parameter("device_unique_id", Some(""))),
        ("long device", connect.clone().parameter("device_unique_id", Some(&"d".repeat(257)))),
    ] {
        let refused = connect.open().await.expect_err(what);
        assert_eq!(refused.status, 403, "{what}");
        assert!(refused.body.len() < 200, "{what}: {}", refused.body);
    }
    let for_any_device = node.token_for(&["--user", "ann"]);
    let longest = "d".repeat(256);
    open(connect.parameter("token", Some(&for_any_device)).parameter("device_unique_id", Some(&longest))).await;
}

#[tokio::test]
async fn token_of_the_none_algorithm_is_refused() {
    let place = Place::new();
    let node = place.start().await;
    // {"alg":"none","typ":"JWT"} and {"sub":"ann","exp":99999999999}
    let token = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4iLCJleHAiOjk5OTk5OTk5OTk5fQ.";
    assert_eq!(node.connect("ann", "phone").parameter("token", Some(token)).open().await.unwrap_err().status, 403);
}

#[tokio::test]
async fn versions_are_negotiated_as_phoenix_does() {
    let place = Place::new();
    let node = place.start().await;
    let mut old = open(node.connect("ann", "phone").version(Version::V1)).await;
    old.join(&notifications("ann")).await;
    for vsn in ["2.0.9", "1.0.5"] {
        open(node.connect("ann", "phone").parameter("vsn", Some(vsn))).await;
    }
    for vsn in ["2.0", "3.0.0", "1.1.0", "2.0.0-rc.1", "abc", ""] {
        let refused = node.connect("ann", "phone").parameter("vsn", Some(vsn)).open().await.expect_err(vsn);
        assert_eq!(refused.status, 403, "{vsn:?}");
    }
}

#[tokio::test]
async fn request_without_an_upgrade_is_answered_and_not_upgraded() {
    let place = Place::new();
    let node = place.start().await;
    let target = node.connect("ann", "phone").target();
    assert_eq!(request(node.address(), "GET", &target, &[], "").await.unwrap().status, 400);
    assert_eq!(request(node.address(), "POST", &target, &[], "").await.unwrap().status, 400);
}

#[tokio::test]
async fn connection_is_closed_when_its_token_expires_and_the_token_is_worthless_then() {
    let place = Place::new().set("auth.leeway", "0s").set("auth.expiry_grace", "0s");
    let node = place.start().await;
    let token = node.token_for(&["--user", "ann", "--device", "phone", "--ttl", "2s"]);
    let connect = node.connect("ann", "phone").parameter("token", Some(&token));
    let mut ann = open(connect.clone()).await;
    ann.join(&notifications("ann")).await;
    assert_eq!(ann.closed().await, Some(1008));
    assert_eq!(connect.open().await.unwrap_err().status, 403);
    assert!(phone(&node, "ann").await.try_join(&notifications("ann")).await.is_ok());
}
