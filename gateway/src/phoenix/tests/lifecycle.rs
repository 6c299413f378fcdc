//! Joins, duplicate joins, leaves and the ends that the server makes, on V2.

use super::toy::Toy;
use crate::phoenix::{Payload, Serializer};

#[test]
fn an_accepted_join_is_answered_with_the_refs_as_sent() {
    let mut toy = Toy::v2();
    let sent = toy.receive(r#"["3","4","room:a","phx_join",{}]"#);
    assert_eq!(sent, [r#"["3","4","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
    assert_eq!(toy.channels.len(), 1);
}

#[test]
fn a_join_payload_may_be_any_json_and_so_may_the_response() {
    for payload in ["null", r#""x""#, "[1,2]", "1.0", "12345678901234567890123", r#"{"a":{"b":1.50}}"#] {
        let mut toy = Toy::v2();
        let sent = toy.receive(&format!(r#"["1","1","room:echo","phx_join",{payload}]"#));
        let reply = format!(r#"["1","1","room:echo","phx_reply",{{"status":"ok","response":{payload}}}]"#);
        assert_eq!(sent, [reply]);
    }
}

#[test]
fn a_refused_join_echoes_the_refs_and_leaves_the_topic_unjoined() {
    let mut toy = Toy::v2();
    let sent = toy.receive(r#"["1","2","room:denied","phx_join",{}]"#);
    assert_eq!(sent, [r#"["1","2","room:denied","phx_reply",{"status":"error","response":{"reason":"denied"}}]"#]);
    assert!(toy.channels.is_empty());
    let sent = toy.receive(r#"["1","3","room:denied","echo",{}]"#);
    assert_eq!(
        sent,
        [r#"[null,"3","room:denied","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#]
    );
}

#[test]
fn a_failed_join_leaves_the_other_channels_alone() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["2","2","room:broken","phx_join",{}]"#);
    assert_eq!(
        sent,
        [r#"["2","2","room:broken","phx_reply",{"status":"error","response":{"reason":"join crashed"}}]"#]
    );
    let sent = toy.receive(r#"["1","3","room:a","echo",{}]"#);
    assert_eq!(sent, [r#"["1","3","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
}

#[test]
fn an_unroutable_join_says_unmatched_topic_with_a_null_join_ref() {
    let mut toy = Toy::v2();
    for topic in [r#""nowhere:a""#, r#""""#, "null", "7", r#"{"room":1}"#, r#"["room:a"]"#] {
        let sent = toy.receive(&format!(r#"["1","1",{topic},"phx_join",{{}}]"#));
        let reply = r#"{"status":"error","response":{"reason":"unmatched topic"}}"#;
        assert_eq!(sent, [format!(r#"[null,"1",{topic},"phx_reply",{reply}]"#)]);
    }
    assert!(toy.log.is_empty());
}

#[test]
fn a_join_over_the_limit_is_refused_with_its_join_ref() {
    let mut toy = Toy::new(Serializer::V2, 2);
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    toy.receive(r#"["2","2","room:b","phx_join",{}]"#);
    let sent = toy.receive(r#"["3","4","room:c","phx_join",{}]"#);
    let reply = r#"{"status":"error","response":{"reason":"too many channels joined"}}"#;
    assert_eq!(sent, [format!(r#"["3","4","room:c","phx_reply",{reply}]"#)]);
    assert_eq!(toy.log, ["room:a#1 asks", "room:b#2 asks"]);
}

#[test]
fn at_the_limit_a_duplicate_join_passes_and_an_unroutable_one_is_unmatched() {
    let mut toy = Toy::new(Serializer::V2, 1);
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["2","2","room:a","phx_join",{}]"#);
    assert_eq!(sent[0], r#"["2","2","room:a","phx_reply",{"status":"ok","response":{}}]"#);
    let sent = toy.receive(r#"["3","3","nowhere","phx_join",{}]"#);
    assert_eq!(
        sent,
        [r#"[null,"3","nowhere","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#]
    );
}

#[test]
fn leaving_frees_a_place_under_the_limit() {
    let mut toy = Toy::new(Serializer::V2, 1);
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    toy.receive(r#"["1","2","room:a","phx_leave",{}]"#);
    let sent = toy.receive(r#"["3","3","room:b","phx_join",{}]"#);
    assert_eq!(sent, [r#"["3","3","room:b","phx_reply",{"status":"ok","response":{}}]"#]);
}

#[test]
fn the_join_reply_precedes_what_the_channel_says_after_it() {
    let mut toy = Toy::v2();
    let sent = toy.receive(r#"["1","2","room:welcome","phx_join",{}]"#);
    assert_eq!(
        sent,
        [
            r#"["1","2","room:welcome","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1",null,"room:welcome","welcome",{}]"#,
        ]
    );
}

#[test]
fn a_duplicate_join_is_answered_then_the_old_instance_closed_then_the_new_one_speaks() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","2","room:welcome","phx_join",{}]"#);
    let sent = toy.receive(r#"["5","6","room:welcome","phx_join",{}]"#);
    assert_eq!(
        sent,
        [
            r#"["5","6","room:welcome","phx_reply",{"status":"ok","response":{}}]"#,
            r#"["1","1","room:welcome","phx_close",{}]"#,
            r#"["5",null,"room:welcome","welcome",{}]"#,
        ]
    );
    assert_eq!(toy.log, ["room:welcome#1 asks", "room:welcome#1 ended", "room:welcome#2 asks"]);
    assert_eq!(toy.channels.len(), 1);
    assert_eq!(toy.receive(r#"["1","7","room:welcome","echo",{}]"#), [""; 0]);
}

#[test]
fn a_duplicate_join_needs_no_matching_join_ref() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"[null,"2","room:a","phx_join",{}]"#);
    assert_eq!(
        sent,
        [r#"[null,"2","room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"["1","1","room:a","phx_close",{}]"#]
    );
    let sent = toy.receive(r#"["3","3","room:a","phx_join",{}]"#);
    assert_eq!(
        sent,
        [r#"["3","3","room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"[null,null,"room:a","phx_close",{}]"#]
    );
}

#[test]
fn a_refused_duplicate_join_ends_the_old_instance_all_the_same() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:once","phx_join",{}]"#);
    let sent = toy.receive(r#"["2","2","room:once","phx_join",{}]"#);
    assert_eq!(
        sent,
        [
            r#"["2","2","room:once","phx_reply",{"status":"error","response":{"reason":"once only"}}]"#,
            r#"["1","1","room:once","phx_close",{}]"#,
        ]
    );
    assert_eq!(toy.log, ["room:once#1 asks", "room:once#1 ended", "room:once#2 asks"]);
    assert!(toy.channels.is_empty());
}

#[test]
fn a_leave_is_answered_and_then_closed() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","2","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["1","3","room:a","phx_leave",["any",1]]"#);
    assert_eq!(
        sent,
        [r#"["1","3","room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"["1","1","room:a","phx_close",{}]"#]
    );
    assert_eq!(toy.log, ["room:a#1 asks", "room:a#1 ended"]);
}

#[test]
fn a_leave_without_join_ref_leaves_too_and_carries_the_channels() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","2","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"[null,null,"room:a","phx_leave",{}]"#);
    assert_eq!(
        sent,
        [r#"["1",null,"room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"["1","1","room:a","phx_close",{}]"#]
    );
}

#[test]
fn a_second_leave_is_answered_without_a_close() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    toy.receive(r#"["1","2","room:a","phx_leave",{}]"#);
    let sent = toy.receive(r#"["1","3","room:a","phx_leave",{}]"#);
    assert_eq!(sent, [r#"["1","3","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
}

#[test]
fn a_leave_of_any_unjoined_topic_is_answered_with_the_clients_join_ref() {
    let mut toy = Toy::v2();
    for topic in [r#""room:a""#, r#""nowhere""#, r#""phoenix""#, "null", "[1]"] {
        let sent = toy.receive(&format!(r#"[9,"3",{topic},"phx_leave",{{}}]"#));
        assert_eq!(sent, [format!(r#"[9,"3",{topic},"phx_reply",{{"status":"ok","response":{{}}}}]"#)]);
    }
}

#[test]
fn an_event_behind_a_leave_is_unmatched() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    toy.receive(r#"["1","2","room:a","phx_leave",{}]"#);
    let sent = toy.receive(r#"["1","3","room:a","echo",{}]"#);
    assert_eq!(sent, [r#"[null,"3","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#]);
}

#[test]
fn a_leave_and_a_join_pipelined_give_two_instances() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    toy.receive(r#"["1","2","room:a","phx_leave",{}]"#);
    let sent = toy.receive(r#"["3","3","room:a","phx_join",{}]"#);
    assert_eq!(sent, [r#"["3","3","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
    assert_eq!(toy.log, ["room:a#1 asks", "room:a#1 ended", "room:a#2 asks"]);
}

#[test]
fn a_stop_with_reply_replies_and_closes() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["1","2","room:a","stop",{}]"#);
    assert_eq!(
        sent,
        [r#"["1","2","room:a","phx_reply",{"status":"ok","response":{}}]"#, r#"["1","1","room:a","phx_close",{}]"#]
    );
    assert!(toy.channels.is_empty());
}

#[test]
fn a_failed_channel_ends_with_phx_error_and_can_be_left_and_joined_again() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["1","2","room:a","fail",{}]"#);
    assert_eq!(sent, [r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#]);
    let sent = toy.receive(r#"["1","3","room:a","phx_leave",{}]"#);
    assert_eq!(sent, [r#"["1","3","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
    let sent = toy.receive(r#"["4","4","room:a","phx_join",{}]"#);
    assert_eq!(sent, [r#"["4","4","room:a","phx_reply",{"status":"ok","response":{}}]"#]);
}

#[test]
fn what_is_not_joined_can_not_be_pushed_to_closed_or_crashed() {
    let mut toy = Toy::v2();
    toy.receive(r#"["1","1","room:a","phx_join",{}]"#);
    assert!(toy.channels.push_to("room:b", "event", &Payload::empty()).is_none());
    assert!(toy.channels.close("room:b").is_none());
    assert!(toy.channels.crash("room:b").is_none());
    assert!(toy.channels.get("room:b").is_none());
    assert!(toy.channels.get("room:a").is_some());
}

#[test]
fn joined_topics_are_listed_by_age_and_drained_without_a_frame() {
    let mut toy = Toy::v2();
    for topic in ["room:c", "room:a", "room:b"] {
        toy.receive(&format!(r#"["1","1","{topic}","phx_join",{{}}]"#));
    }
    toy.channels.close("room:a");
    let topics: Vec<_> = toy.channels.iter().map(|(topic, _)| topic.to_string()).collect();
    assert_eq!(topics, ["room:c", "room:b"]);
    let ended: Vec<_> = toy.channels.drain().map(|(topic, _)| topic.to_string()).collect();
    assert_eq!(ended, ["room:c", "room:b"]);
    assert!(toy.channels.is_empty());
}
