//! What is a frame and what is malformed.

use super::toy::Toy;
use crate::phoenix::{ClientFrame, Malformed, Name, Ref, Serializer};

fn v2(text: &str) -> Result<ClientFrame<'_>, Malformed> {
    ClientFrame::parse(Serializer::V2, text)
}

fn v1(text: &str) -> Result<ClientFrame<'_>, Malformed> {
    ClientFrame::parse(Serializer::V1, text)
}

#[test]
fn a_v2_frame_borrows_from_its_text() {
    let text = r#"["1",2,"room:a","echo",{"n": 12345678901234567890123, "f": 1.0}]"#;
    let frame = v2(text).unwrap();
    assert_eq!((frame.join_ref.as_json(), frame.reference.as_json()), (r#""1""#, "2"));
    assert_eq!(frame.topic.as_text(), Some("room:a"));
    assert_eq!(frame.event.as_text(), Some("echo"));
    assert_eq!(frame.payload.get(), r#"{"n": 12345678901234567890123, "f": 1.0}"#);
    assert!(text.as_bytes().as_ptr_range().contains(&frame.payload.get().as_ptr()));
    assert!(matches!(frame.topic, Name::Text(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn escapes_in_topic_and_event_are_resolved() {
    let frame = v2(r#"[null,null,"room:\u00e9\ud83d\ude00\/","e\u0063ho",null]"#).unwrap();
    assert_eq!(frame.topic.as_text(), Some("room:é😀/"));
    assert_eq!(frame.event.as_text(), Some("echo"));
    assert!(frame.join_ref.is_null() && frame.reference.is_null());
}

#[test]
fn trailing_elements_and_white_space_are_fine() {
    let frame = v2(" \n[null, \"1\", \"t\", \"e\", {}, 6, [7, {\"x\": []}], \"\"]\t\r\n").unwrap();
    assert_eq!(frame.reference.as_json(), r#""1""#);
    assert_eq!(frame.payload.get(), "{}");
}

#[test]
fn what_is_malformed_on_v2() {
    let malformed = [
        "",
        " ",
        "x",
        "{}",
        "null",
        "\"\"",
        "5",
        "[]",
        "[1,2,3,4]",
        "[1,2,3,4,]",
        "[1,2,3,4,5",
        "[1,2,3,4,5]]",
        "[1,2,3,4,5] x",
        "[1,2,3,4,5,]",
        "[1,2,3,4,5,x]",
        "[1,2,3,4,05]",
        "[1,2,3,4,'5']",
        "[1,2,3,4,{\"a\"}]",
        "\u{feff}[1,2,3,4,5]",
        "[1,2,\"a\u{0}b\",4,5]",
        "[1,2,\"\\x\",4,5]",
        "[1,2,3,4,NaN]",
        "[1 2,3,4,5]",
        r#"{"topic":"t","event":"e","payload":{},"ref":"1"}"#,
        r#"[1,2,"\ud83d","e",{}]"#,
        r#"[1,2,"t","\udc00",{}]"#,
    ];
    for text in malformed {
        assert_eq!(v2(text).err(), Some(Malformed), "{text:?}");
        assert_eq!(Toy::v2().try_receive(text), Err(Malformed), "{text:?}");
    }
}

#[test]
fn v1_keys_come_in_any_order_and_unknown_ones_are_ignored() {
    let frame =
        v1(r#" {"ref": null, "x": [[{}]], "payload": 1.0, "join_ref": "9", "\u0065vent": "e", "topic": "t", "": 0} "#)
            .unwrap();
    assert_eq!(frame.topic.as_text(), Some("t"));
    assert_eq!(frame.event.as_text(), Some("e"));
    assert_eq!(frame.payload.get(), "1.0");
    assert_eq!(frame.join_ref.as_json(), r#""9""#);
    assert!(frame.reference.is_null());
}

#[test]
fn of_a_key_that_comes_twice_the_last_counts() {
    let frame = v1(r#"{"topic":"a","topic":"b","event":1,"event":"e","payload":1,"payload":2,"ref":1,"ref":2,"join_ref":1,"join_ref":null}"#)
        .unwrap();
    assert_eq!(frame.topic.as_text(), Some("b"));
    assert_eq!(frame.event.as_text(), Some("e"));
    assert_eq!(frame.payload.get(), "2");
    assert_eq!(frame.reference.as_json(), "2");
    assert!(frame.join_ref.is_null());
}

#[test]
fn what_is_malformed_on_v1() {
    let malformed = [
        "",
        "x",
        "[]",
        "null",
        "{}",
        r#"[null,"1","t","e",{}]"#,
        r#"["t","e",{},"1"]"#,
        r#"{"event":"e","payload":{},"ref":"1"}"#,
        r#"{"topic":"t","payload":{},"ref":"1"}"#,
        r#"{"topic":"t","event":"e","ref":"1"}"#,
        r#"{"topic":"t","event":"e","payload":{}}"#,
        r#"{"topic":"t","event":"e","payload":{},"ref":"1""#,
        r#"{"topic":"t","event":"e","payload":{},"ref":"1"}}"#,
        r#"{"topic":"t","event":"e","payload":{},"ref":"1",}"#,
        r#"{"topic":"t","event":"e","payload":{},"ref"}"#,
        r#"{"topic":"t","event":"e","payload":{},"ref":"1",x:1}"#,
    ];
    for text in malformed {
        assert_eq!(v1(text).err(), Some(Malformed), "{text:?}");
    }
}

#[test]
fn nulls_are_present_on_v1() {
    let frame = v1(r#"{"topic":null,"event":null,"payload":null,"ref":null}"#).unwrap();
    assert_eq!((frame.topic.as_text(), frame.event.as_text()), (None, None));
    assert_eq!(frame.payload.get(), "null");
}

#[test]
fn any_depth_is_read_in_any_place() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    for place in 0..6 {
        let mut fields = [r#""1""#, r#""2""#, r#""room:a""#, r#""echo""#, "{}", "0"];
        fields[place] = &deep;
        let text = format!("[{}]", fields.join(","));
        assert!(v2(&text).is_ok(), "place {place}");
    }
    let text =
        format!(r#"{{"topic":{deep},"event":{deep},"payload":{deep},"ref":{deep},"x":{deep},"join_ref":{deep}}}"#);
    let frame = v1(&text).unwrap();
    assert_eq!(frame.join_ref, frame.reference);
    assert_eq!(v2(&deep).err(), Some(Malformed));
    assert_eq!(v2(&"[".repeat(1_000_000)).err(), Some(Malformed));
    assert_eq!(v1(&r#"{"x":"#.repeat(300_000)).err(), Some(Malformed));
}

#[test]
fn a_deep_or_long_ref_is_given_back_whole() {
    let deep = format!("{}{}", r#"{"a":["#.repeat(10_000), "]}".repeat(10_000));
    let long = format!(r#""{}""#, "é".repeat(30_000));
    for reference in [deep, long] {
        let mut toy = Toy::v2();
        let sent = toy.receive(&format!(r#"[{reference},{reference},"room:a","phx_join",{{}}]"#));
        let ok = r#"{"status":"ok","response":{}}"#;
        assert_eq!(sent, [format!(r#"[{reference},{reference},"room:a","phx_reply",{ok}]"#)]);
        assert_eq!(toy.receive(&format!(r#"[{reference},null,"room:a","echo",{{}}]"#)).len(), 1);
        assert_eq!(toy.receive(&format!(r#"[[{reference}],null,"room:a","echo",{{}}]"#)).len(), 0);
    }
}

#[test]
fn a_lone_surrogate_in_a_ref_or_payload_is_only_passed_on() {
    let mut toy = Toy::v2();
    toy.receive(r#"["\ud800","1","room:a","phx_join",{}]"#);
    let sent = toy.receive(r#"["\ud800","\udc00","room:a","echo",{"content":"cut \ud83d"}]"#);
    let response = r#"{"content":"cut \ud83d"}"#;
    assert_eq!(sent, [format!(r#"["\ud800","\udc00","room:a","phx_reply",{{"status":"ok","response":{response}}}]"#)]);
    assert_eq!(toy.receive(r#"["\ud801","2","room:a","echo",{}]"#), [""; 0]);
}

#[test]
fn malformed_says_nothing_of_what_came() {
    assert_eq!(v2(r#"["secret"]"#).unwrap_err().to_string(), "not a frame of the negotiated serializer");
    assert_eq!(format!("{:?}", Ref::NULL), "Ref(null)");
}
