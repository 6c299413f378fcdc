//! The same rules on V1, where frames are objects of exactly four keys.

use super::toy::Toy;

#[test]
fn a_whole_conversation() {
    let mut toy = Toy::v1();
    let sent = toy.receive(r#"{"topic":"room:welcome","event":"phx_join","payload":{},"ref":"1"}"#);
    assert_eq!(
        sent,
        [
            r#"{"topic":"room:welcome","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}"#,
            r#"{"topic":"room:welcome","event":"welcome","payload":{},"ref":null}"#,
        ]
    );
    let sent = toy.receive(r#"{"topic":"room:welcome","event":"shout","payload":{"x":1.0},"ref":2}"#);
    assert_eq!(
        sent,
        [
            r#"{"topic":"room:welcome","event":"shouted","payload":{"x":1.0},"ref":null}"#,
            r#"{"topic":"room:welcome","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":2}"#,
        ]
    );
    let sent = toy.receive(r#"{"topic":"room:welcome","event":"phx_leave","payload":{},"ref":"3"}"#);
    assert_eq!(
        sent,
        [
            r#"{"topic":"room:welcome","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"3"}"#,
            r#"{"topic":"room:welcome","event":"phx_close","payload":{},"ref":null}"#,
        ]
    );
}

#[test]
fn a_close_or_error_carries_the_join_ref_key_of_the_join() {
    let join = r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1","join_ref":"7"}"#;
    let mut toy = Toy::v1();
    let sent = toy.receive(join);
    assert_eq!(sent, [r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"1"}"#]);
    let sent = toy.receive(r#"{"topic":"room:a","event":"fail","payload":{},"ref":"2"}"#);
    assert_eq!(sent, [r#"{"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":"7"}"#]);
    toy.receive(join);
    let sent = toy.receive(r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"3"}"#);
    assert_eq!(sent[1], r#"{"topic":"room:a","event":"phx_close","payload":{},"ref":"7"}"#);
    let sent = toy.receive(r#"{"topic":"room:a","event":"fail","payload":{},"ref":"4"}"#);
    assert_eq!(sent, [r#"{"topic":"room:a","event":"phx_error","payload":{"reason":"channel_crash"},"ref":null}"#]);
}

#[test]
fn a_stale_join_ref_key_is_dropped_and_its_absence_is_not() {
    let mut toy = Toy::v1();
    toy.receive(r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1","join_ref":"7"}"#);
    let sent = toy.receive(r#"{"topic":"room:a","event":"echo","payload":{},"ref":"2","join_ref":"8"}"#);
    assert_eq!(sent, [""; 0]);
    let reply = r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}"#;
    for join_ref in [r#","join_ref":"7""#, r#","join_ref":null"#, ""] {
        let sent = toy.receive(&format!(r#"{{"topic":"room:a","event":"echo","payload":{{}},"ref":"2"{join_ref}}}"#));
        assert_eq!(sent, [reply]);
    }
}

#[test]
fn heartbeats_unmatched_topics_and_leaves_of_unjoined_ones() {
    let mut toy = Toy::v1();
    let sent = toy.receive(r#"{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"9"}"#);
    assert_eq!(sent, [r#"{"topic":"phoenix","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"9"}"#]);
    let sent = toy.receive(r#"{"topic":null,"event":"echo","payload":{},"ref":0}"#);
    let unmatched = r#"{"status":"error","response":{"reason":"unmatched topic"}}"#;
    assert_eq!(sent, [format!(r#"{{"topic":null,"event":"phx_reply","payload":{unmatched},"ref":0}}"#)]);
    let sent = toy.receive(r#"{"topic":"room:a","event":"phx_leave","payload":null,"ref":null,"join_ref":"1"}"#);
    assert_eq!(sent, [r#"{"topic":"room:a","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":null}"#]);
}

#[test]
fn a_refused_join() {
    let mut toy = Toy::v1();
    let sent = toy.receive(r#"{"topic":"room:denied","event":"phx_join","payload":{},"ref":"1"}"#);
    let denied = r#"{"status":"error","response":{"reason":"denied"}}"#;
    assert_eq!(sent, [format!(r#"{{"topic":"room:denied","event":"phx_reply","payload":{denied},"ref":"1"}}"#)]);
}
