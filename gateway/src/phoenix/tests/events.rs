//! Heartbeats, events of joined and unjoined topics, stale frames and the effective join_ref, on V2.

use super::toy::Toy;

const UNMATCHED: &str = r#"{"status":"error","response":{"reason":"unmatched topic"}}"#;

/// A toy that has joined `room:a` with the two references given as JSON.
fn joined_with(join_ref: &str, reference: &str) -> Toy {
    let mut toy = Toy::v2();
    let sent = toy.receive(&format!(r#"[{join_ref},{reference},"room:a","phx_join",{{}}]"#));
    assert_eq!(sent, [format!(r#"[{join_ref},{reference},"room:a","phx_reply",{{"status":"ok","response":{{}}}}]"#)]);
    toy
}

#[test]
fn a_heartbeat_reply_has_a_null_join_ref_whatever_was_sent() {
    let mut toy = Toy::v2();
    for (join_ref, reference, payload) in
        [("null", r#""7""#, "{}"), (r#""1""#, "0", "null"), (r#""""#, "null", r#""x""#), ("5", "[1]", "[]")]
    {
        let sent = toy.receive(&format!(r#"[{join_ref},{reference},"phoenix","heartbeat",{payload}]"#));
        assert_eq!(sent, [format!(r#"[null,{reference},"phoenix","phx_reply",{{"status":"ok","response":{{}}}}]"#)]);
    }
}

#[test]
fn another_event_on_phoenix_is_unmatched_and_so_is_a_heartbeat_elsewhere() {
    let mut toy = Toy::v2();
    for (topic, event) in
        [("phoenix", "ping"), ("phoenix", "phx_join"), ("phoenix", "Heartbeat"), ("room:a", "heartbeat")]
    {
        let sent = toy.receive(&format!(r#"["1","2","{topic}","{event}",{{}}]"#));
        assert_eq!(sent, [format!(r#"[null,"2","{topic}","phx_reply",{UNMATCHED}]"#)]);
    }
}

#[test]
fn an_event_on_an_unjoined_topic_is_unmatched_with_a_null_join_ref() {
    let mut toy = Toy::v2();
    for reference in [r#""2""#, "null", "2", r#"{"a":1}"#] {
        let sent = toy.receive(&format!(r#"["1",{reference},"room:a","echo",{{}}]"#));
        assert_eq!(sent, [format!(r#"[null,{reference},"room:a","phx_reply",{UNMATCHED}]"#)]);
    }
}

#[test]
fn an_unmatched_topic_is_given_back_whatever_its_type() {
    let mut toy = Toy::v2();
    for topic in
        ["null", "true", "12345678901234567890123", "1.0", r#"{"b":1,"a":[]}"#, r#"[["x"]]"#, r#""\u0001\"\\""#]
    {
        let sent = toy.receive(&format!(r#"["1","2",{topic},"echo",{{}}]"#));
        assert_eq!(sent, [format!(r#"[null,"2",{topic},"phx_reply",{UNMATCHED}]"#)]);
    }
    let sent = toy.receive("[\"1\", \"2\", { \"a b\" : [ 1,\n2 ] }, \"echo\", {}]");
    assert_eq!(sent, [format!(r#"[null,"2",{{"a b":[1,2]}},"phx_reply",{UNMATCHED}]"#)]);
}

#[test]
fn an_event_on_an_unjoined_topic_may_be_of_any_type() {
    let mut toy = Toy::v2();
    for event in ["null", "1", "{}", r#"["phx_leave"]"#] {
        let sent = toy.receive(&format!(r#"["1","2","room:a",{event},{{}}]"#));
        assert_eq!(sent, [format!(r#"[null,"2","room:a","phx_reply",{UNMATCHED}]"#)]);
    }
}

#[test]
fn a_reply_carries_the_channels_join_ref_and_the_events_ref() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    let sent = toy.receive(r#"["1","3","room:a","echo",{"n":12345678901234567890123,"f":1.0}]"#);
    let response = r#"{"n":12345678901234567890123,"f":1.0}"#;
    assert_eq!(sent, [format!(r#"["1","3","room:a","phx_reply",{{"status":"ok","response":{response}}}]"#)]);
    let sent = toy.receive(r#"[null,null,"room:a","echo",null]"#);
    assert_eq!(sent, [r#"["1",null,"room:a","phx_reply",{"status":"ok","response":null}]"#]);
}

#[test]
fn replies_are_compact_whatever_the_client_sent() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    let sent = toy.receive("\n[ \"1\" , [ 3,\t4 ] , \"room:a\" , \"echo\" , { \"a b\" : [ 1 , \"c \\\" d\" ] } ] \r\n");
    assert_eq!(sent, [r#"["1",[3,4],"room:a","phx_reply",{"status":"ok","response":{"a b":[1,"c \" d"]}}]"#]);
}

#[test]
fn a_status_is_a_free_string() {
    let mut toy = joined_with(r#""1""#, r#""1""#);
    let sent = toy.receive(r#"["1","3","room:a","queue",{}]"#);
    assert_eq!(sent, [r#"["1","3","room:a","phx_reply",{"status":"queued","response":{}}]"#]);
}

#[test]
fn a_push_has_a_join_ref_and_a_broadcast_has_none_and_precedes_the_reply() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    let reply = r#"["1","3","room:a","phx_reply",{"status":"ok","response":{}}]"#;
    let sent = toy.receive(r#"["1","3","room:a","push",{"x":1}]"#);
    assert_eq!(sent, [r#"["1",null,"room:a","pushed",{"x":1}]"#, reply]);
    let sent = toy.receive(r#"["1","3","room:a","shout",{"x":1}]"#);
    assert_eq!(sent, [r#"[null,null,"room:a","shouted",{"x":1}]"#, reply]);
}

#[test]
fn an_event_may_have_no_reply() {
    let mut toy = joined_with(r#""1""#, r#""1""#);
    assert_eq!(toy.receive(r#"["1","3","room:a","quiet",{}]"#), [""; 0]);
}

#[test]
fn a_reply_may_come_later_with_the_ref_of_its_event() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    assert_eq!(toy.receive(r#"["1","3","room:a","hold",{}]"#), [""; 0]);
    assert_eq!(toy.receive(r#"["1",null,"room:a","hold",{}]"#), [""; 0]);
    let sent = toy.receive(r#"["1","5","room:a","release",{}]"#);
    let reply = |reference| format!(r#"["1",{reference},"room:a","phx_reply",{{"status":"ok","response":{{}}}}]"#);
    assert_eq!(sent, [reply(r#""3""#), reply("null"), reply(r#""5""#)]);
}

#[test]
fn what_is_said_late_is_for_the_instance_that_was_asked() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    toy.receive(r#"["1","3","room:a","hold",{}]"#);
    toy.receive(r#"["4","4","room:a","phx_join",{}]"#);
    assert_eq!(toy.receive(r#"["4","5","room:a","whisper later",{}]"#), [r#"["1",null,"room:a","whispered",{}]"#]);
}

#[test]
fn an_unknown_event_is_an_error_when_it_carries_a_ref_and_the_channel_lives_on() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    let reply = r#"["1","3","room:a","phx_reply",{"status":"error","response":{"reason":"unknown event"}}]"#;
    for event in [r#""nonsense""#, r#""phx_error""#, r#""phx_close""#, "null", "7"] {
        assert_eq!(toy.receive(&format!(r#"["1","3","room:a",{event},{{}}]"#)), [reply]);
        assert_eq!(toy.receive(&format!(r#"["1",null,"room:a",{event},{{}}]"#)), [""; 0]);
    }
    assert_eq!(toy.channels.len(), 1);
}

#[test]
fn the_names_of_the_protocol_reach_the_application_as_ordinary_events() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    assert_eq!(toy.receive(r#"["1","3","room:a","phx_reply",{}]"#), [""; 0]);
}

#[test]
fn a_frame_for_another_instance_is_dropped_without_a_word() {
    let mut toy = joined_with(r#""1""#, r#""2""#);
    for join_ref in [r#""2""#, "1", "1.0", r#""""#, r#""01""#, "[]", r#"["1"]"#, "false"] {
        for event in ["echo", "phx_leave", "nonsense"] {
            assert_eq!(toy.receive(&format!(r#"[{join_ref},"3","room:a","{event}",{{}}]"#)), [""; 0], "{join_ref}");
        }
    }
    assert_eq!(toy.channels.len(), 1);
}

#[test]
fn the_join_ref_may_be_of_any_type_but_has_to_be_the_same() {
    for (join_ref, other) in
        [("1", "1.0"), ("1", r#""1""#), ("1.0", "1"), ("0", "false"), (r#"{"a":[1]}"#, r#"{"a":[2]}"#)]
    {
        let mut toy = joined_with(join_ref, r#""2""#);
        let sent = toy.receive(&format!(r#"[{join_ref},3,"room:a","echo",{{}}]"#));
        assert_eq!(sent, [format!(r#"[{join_ref},3,"room:a","phx_reply",{{"status":"ok","response":{{}}}}]"#)]);
        assert_eq!(toy.receive(&format!(r#"[{other},3,"room:a","echo",{{}}]"#)), [""; 0]);
        let sent = toy.receive(&format!(r#"[{join_ref},4,"room:a","phx_leave",{{}}]"#));
        assert_eq!(sent[1], format!(r#"[{join_ref},{join_ref},"room:a","phx_close",{{}}]"#));
    }
}

#[test]
fn a_join_ref_in_another_spelling_is_the_same() {
    let mut toy = joined_with(r#""a""#, r#""2""#);
    let sent = toy.receive(r#"["\u0061","3","room:\u0061","\u0065cho",{}]"#);
    assert_eq!(sent, [r#"["a","3","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
}

#[test]
fn the_ref_of_a_join_without_join_ref_takes_its_place_but_is_not_accepted() {
    let mut toy = joined_with("null", r#""1""#);
    let sent = toy.receive(r#"[null,"2","room:a","push",{}]"#);
    assert_eq!(
        sent,
        [r#"["1",null,"room:a","pushed",{}]"#, r#"["1","2","room:a","phx_reply",{"status":"ok","response":{}}]"#]
    );
    assert_eq!(toy.receive(r#"["1","3","room:a","echo",{}]"#), [""; 0]);
    assert_eq!(toy.receive(r#"["1","3","room:a","phx_leave",{}]"#), [""; 0]);
    let sent = toy.receive(r#"[null,"4","room:a","phx_leave",{}]"#);
    assert_eq!(
        sent,
        [r#"["1","4","room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"[null,null,"room:a","phx_close",{}]"#]
    );
}

#[test]
fn a_join_without_any_ref_works_with_nulls() {
    let mut toy = joined_with("null", "null");
    let sent = toy.receive(r#"[null,null,"room:a","push",{}]"#);
    assert_eq!(
        sent,
        [r#"[null,null,"room:a","pushed",{}]"#, r#"[null,null,"room:a","phx_reply",{"status":"ok","response":{}}]"#]
    );
    let (_, crash) = toy.channels.crash("room:a").unwrap();
    assert_eq!(crash.as_str(), r#"[null,null,"room:a","phx_error",{"reason":"channel_crash"}]"#);
}

#[test]
fn an_empty_join_ref_is_not_a_null_one() {
    let mut toy = joined_with(r#""""#, r#""1""#);
    let sent = toy.receive(r#"["","2","room:a","echo",{}]"#);
    assert_eq!(sent, [r#"["","2","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
    let (_, close) = toy.channels.close("room:a").unwrap();
    assert_eq!(close.as_str(), r#"["","","room:a","phx_close",{}]"#);
}

#[test]
fn topics_are_joined_apart() {
    let mut toy = joined_with(r#""1""#, r#""1""#);
    toy.receive(r#"["2","2","room:","phx_join",{}]"#);
    let sent = toy.receive(r#"["2","3","room:","echo",{}]"#);
    assert_eq!(sent, [r#"["2","3","room:","phx_reply",{"status":"ok","response":{}}]"#]);
    assert_eq!(toy.receive(r#"["2","3","room:a","echo",{}]"#), [""; 0]);
}
