//! Frames that the server makes by itself, and the payloads in them.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Message;

use crate::phoenix::{Name, Payload, Ref, Serializer, ServerFrame, Status};

#[derive(Serialize)]
struct Typing<'a> {
    is_typing: bool,
    user_id: &'a str,
}

#[test]
fn one_payload_is_encoded_once_for_both_serializers() {
    let payload = Payload::encode(&Typing { is_typing: true, user_id: "u" });
    let v2 = ServerFrame::broadcast(Serializer::V2, "chat:1", "typing", &payload);
    let v1 = ServerFrame::broadcast(Serializer::V1, "chat:1", "typing", &payload);
    assert_eq!(v2.as_str(), r#"[null,null,"chat:1","typing",{"is_typing":true,"user_id":"u"}]"#);
    assert_eq!(
        v1.as_str(),
        r#"{"topic":"chat:1","event":"typing","payload":{"is_typing":true,"user_id":"u"},"ref":null}"#
    );
}

#[test]
fn a_clone_of_a_frame_shares_its_bytes_up_to_the_socket() {
    let frame = ServerFrame::broadcast(Serializer::V2, "chat:1", "typing", &Payload::empty());
    let (Message::Text(one), Message::Text(other)) = (frame.clone().into(), frame.clone().into()) else {
        panic!("a text message")
    };
    assert_eq!(one.as_str(), frame.as_str());
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[test]
fn names_are_escaped() {
    let frame = ServerFrame::push(Serializer::V2, &Ref::NULL, "a\"b\\c\u{1}é", "new\nline", &Payload::empty());
    assert_eq!(frame.as_str(), r#"[null,null,"a\"b\\c\u0001é","new\nline",{}]"#);
    let frame = ServerFrame::close(Serializer::V1, &Ref::NULL, "\"");
    assert_eq!(frame.as_str(), r#"{"topic":"\"","event":"phx_close","payload":{},"ref":null}"#);
    let (status, topic) = (Status::Other("\"odd\""), Name::from("t"));
    let frame = ServerFrame::reply(Serializer::V2, &Ref::NULL, &Ref::NULL, &topic, status, &Payload::reason("a\tb"));
    assert_eq!(frame.as_str(), r#"[null,null,"t","phx_reply",{"status":"\"odd\"","response":{"reason":"a\tb"}}]"#);
}

#[test]
fn a_passed_on_payload_loses_white_space_and_nothing_else() {
    let text = "{ \"a b\" : [ 1.0 , 1e2, 12345678901234567890123 ,\t\"\\u0061 \\\" \" ] }";
    let payload = Payload::from(serde_json::from_str::<&RawValue>(text).unwrap());
    assert_eq!(payload.as_json(), r#"{"a b":[1.0,1e2,12345678901234567890123,"\u0061 \" "]}"#);
}
