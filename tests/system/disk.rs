//! A disk that is full: the node stops saying `sent`, says why, and has kept every word it gave.

use std::collections::BTreeSet;

use crate::place::{Place, back, notifications, phone};

#[tokio::test]
async fn full_disk_ends_the_node_with_a_reason_and_nothing_that_was_acknowledged_is_lost() {
    let place = Place::new().set("chats.content_bytes_max", 60000);
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    assert_eq!(node.terminate().await.code(), Some(0));

    // No file may grow beyond what the largest is by now, and a little more.
    let limited = place.options.clone().file_kib_max(largest_file_kib(&place) + 512);
    let node = limited.start().await.expect("there is room enough to start");
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let mut acknowledged = BTreeSet::new();
    let mut refused = 0;
    for number in 0.. {
        assert!(number < 20_000, "the limit is never reached");
        match ann.send_message("c1", &number.to_string(), &format!("{number} {}", "x".repeat(50_000))).await {
            Ok(sent) if sent["status"] == "sent" => {
                assert_eq!(refused, 0, "nothing is acknowledged after the first failure");
                acknowledged.insert(number.to_string());
            }
            Ok(sent) => {
                let reason = sent["reason"].as_str().unwrap();
                assert!(["unavailable", "overloaded"].contains(&reason), "{reason}");
                refused += 1;
            }
            Err(_) => break,
        }
    }
    let before = node.log();
    let status = node.ended().await;
    assert_eq!(status.code(), Some(1), "{before}");
    assert!(before.contains("ERROR"), "{before}");
    assert!(!acknowledged.is_empty(), "some messages fit");

    let node = place.start().await;
    let bob = back(&node, "bob").await;
    while !acknowledged.is_empty() {
        let stored = bob.expect(&notifications("bob"), "pending_notification").await;
        let content = stored["content"].as_str().unwrap();
        acknowledged.remove(content.split(' ').next().unwrap());
    }
}

fn largest_file_kib(place: &Place) -> u64 {
    let mut folders = vec![place.path("data")];
    let mut largest = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                largest = largest.max(metadata.len().div_ceil(1024));
            }
        }
    }
    largest
}
