//! What holds for every text, frame and conversation.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::toy::Toy;
use crate::phoenix::{ClientFrame, Ref, Serializer};

/// JSON as text: numbers of any length, escapes, white space, duplicate keys.
fn json_text() -> impl Strategy<Value = String> {
    let number = prop_oneof!["-?(0|[1-9][0-9]{0,40})", r"-?(0|[1-9][0-9]{0,5})\.[0-9]{1,20}([eE][+-]?[0-9]{1,2})?"];
    let string = r#""([a-z :,{}]|\\["\\/bfnrt]|\\u00[0-9a-f]{2}|é|😀|\\ud83d\\ude00){0,8}""#;
    let space = "[ \n\r\t]{0,2}";
    let leaf = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), number, string];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let array = (vec(inner.clone(), 0..4), space).prop_map(|(items, s)| {
            let items: Vec<_> = items.iter().map(|item| format!("{s}{item}{s}")).collect();
            format!("[{s}{}]", items.join(","))
        });
        let object = (vec((string, inner), 0..4), space).prop_map(|(members, s)| {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("{s}{key}{s}:{s}{value}{s}")).collect();
            format!("{{{s}{}}}", members.join(","))
        });
        prop_oneof![array, object]
    })
}

fn reference(json: &str) -> Ref {
    Ref::from(serde_json::from_str::<&RawValue>(json).unwrap())
}

fn without_space(json: &str) -> String {
    let mut is_string = false;
    let mut is_escaped = false;
    json.chars()
        .filter(|&c| {
            if c == '"' && !is_escaped {
                is_string = !is_string;
            }
            is_escaped = c == '\\' && !is_escaped;
            is_string || !c.is_ascii_whitespace()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_parsing_panic(text in any::<String>(), bytes in vec(any::<u8>(), 0..64)) {
        for serializer in [Serializer::V1, Serializer::V2] {
            let _ = ClientFrame::parse(serializer, &text);
            let _ = ClientFrame::parse(serializer, &String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn no_text_that_looks_like_json_makes_an_application_panic(text in r#"[\[\]{}",:\\u0-9a-f nlrt.eE-]{0,64}"#) {
        for mut toy in [Toy::v1(), Toy::v2()] {
            let _ = toy.try_receive(&text);
            let _ = toy.try_receive(&format!("[{text},{text},{text},{text},{text}]"));
            let _ = toy.try_receive(&format!(r#"{{"topic":{text},"event":{text},"ref":{text},"payload":{text}}}"#));
        }
    }

    #[test]
    fn a_v2_frame_keeps_every_field(fields in vec(json_text(), 5..7), space in "[ \n\r\t]{0,3}") {
        let text = format!("{space}[{space}{}{space}]{space}", fields.join(&format!("{space},{space}")));
        let frame = ClientFrame::parse(Serializer::V2, &text).unwrap();
        prop_assert_eq!(frame.join_ref.as_json(), without_space(&fields[0]));
        prop_assert_eq!(frame.reference.as_json(), without_space(&fields[1]));
        prop_assert_eq!(frame.payload.get(), &fields[4]);
        let topic: Value = serde_json::from_str(&fields[2]).unwrap();
        prop_assert_eq!(frame.topic.as_text(), topic.as_str());
        let event: Value = serde_json::from_str(&fields[3]).unwrap();
        prop_assert_eq!(frame.event.as_text(), event.as_str());
    }

    #[test]
    fn a_v1_frame_keeps_every_field(
        fields in vec(json_text(), 6),
        keys in Just(vec!["topic", "event", "payload", "ref", "join_ref", "other"]).prop_shuffle(),
    ) {
        let members: Vec<_> = keys.iter().zip(&fields).map(|(key, value)| format!("\"{key}\": {value}")).collect();
        let text = format!("{{{}}}", members.join(", "));
        let frame = ClientFrame::parse(Serializer::V1, &text).unwrap();
        let field = |key| &fields[keys.iter().position(|other| *other == key).unwrap()];
        prop_assert_eq!(frame.join_ref.as_json(), without_space(field("join_ref")));
        prop_assert_eq!(frame.reference.as_json(), without_space(field("ref")));
        prop_assert_eq!(frame.payload.get(), field("payload"));
    }

    #[test]
    fn an_echo_keeps_refs_and_payload(join_ref in json_text(), reference in json_text(), payload in json_text()) {
        let mut toy = Toy::v2();
        toy.receive(&format!(r#"[{join_ref},"1","room:a","phx_join",{{}}]"#));
        let sent = toy.receive(&format!(r#"[{join_ref},{reference},"room:a","echo",{payload}]"#));
        let effective = if join_ref == "null" { r#""1""#.to_owned() } else { without_space(&join_ref) };
        let (reference, payload) = (without_space(&reference), without_space(&payload));
        let reply = format!(r#"{{"status":"ok","response":{payload}}}"#);
        prop_assert_eq!(sent, [format!(r#"[{effective},{reference},"room:a","phx_reply",{reply}]"#)]);
    }

    #[test]
    fn an_unmatched_topic_comes_back_as_the_same_value(topic in json_text()) {
        let sent = Toy::v2().receive(&format!(r#"["1","2",{topic},"no event",{{}}]"#));
        let fields: Vec<&RawValue> = serde_json::from_str(&sent[0]).unwrap();
        prop_assert_eq!(reference(fields[2].get()), reference(&topic));
    }

    #[test]
    fn the_same_refs_are_equal_values(one in json_text(), other in json_text()) {
        prop_assert_eq!(reference(&one), reference(&without_space(&one)));
        prop_assert_eq!(reference(&one) == reference(&other), reference(&other) == reference(&one));
        let values: (Value, Value) = (serde_json::from_str(&one).unwrap(), serde_json::from_str(&other).unwrap());
        prop_assert!(reference(&one) != reference(&other) || values.0 == values.1);
        if let (Value::String(text), _) = &values {
            prop_assert_eq!(reference(&one), reference(&serde_json::to_string(text).unwrap()));
        }
    }

    #[test]
    fn every_instance_that_ends_is_closed_once(
        steps in vec((0..3usize, 0..3usize, prop_oneof!["phx_join", "phx_leave", "echo", "stop"]), 0..40),
    ) {
        let mut toy = Toy::new(Serializer::V2, 2);
        let mut sent = Vec::new();
        for (topic, join_ref, event) in &steps {
            let join_ref = ["null", "\"1\"", "\"2\""][*join_ref];
            sent.extend(toy.receive(&format!(r#"[{join_ref},"r","room:{topic}","{event}",{{}}]"#)));
        }
        for frame in &sent {
            let fields: Vec<&RawValue> = serde_json::from_str(frame).unwrap();
            prop_assert_eq!(fields.len(), 5);
            prop_assert_eq!(without_space(frame), frame.as_str());
        }
        let closes = sent.iter().filter(|frame| frame.contains(r#""phx_close""#)).count();
        let ended = toy.log.iter().filter(|line| line.ends_with("ended")).count();
        let joins = toy.log.iter().filter(|line| line.ends_with("asks")).count();
        prop_assert_eq!((closes, joins), (ended, ended + toy.channels.len()));
        prop_assert!(toy.channels.len() <= 2);
    }
}
