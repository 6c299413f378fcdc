//! A good record passes; each kind of fault, put into it, is named.

use super::*;

const CHAT: &str = "c1";

fn attempt(content: &str, outcome: Outcome) -> Attempt {
    Attempt {
        sender: "ann".into(),
        chat: CHAT.into(),
        reference: format!("ref {content}"),
        content: content.into(),
        outcome,
    }
}

fn sent(content: &str, id: &str) -> Attempt {
    attempt(content, Outcome::Sent(id.into()))
}

fn seen(kind: Kind, id: &str, content: &str) -> Seen {
    let topic = if kind == Kind::Received { "chat:c1" } else { "notifications:x" };
    Seen {
        topic: topic.into(),
        kind,
        chat: CHAT.into(),
        sender: "ann".into(),
        message_id: id.into(),
        content: content.into(),
    }
}

fn connection(user: &str, device: &str, seen: Vec<Seen>) -> Connection {
    Connection { user: user.into(), device: device.into(), seen }
}

/// Ann sends three messages; Bob is in the room on his phone and notified on his tablet later, Cid is notified.
fn good() -> Record {
    use Kind::{Notified, Pending, Received};
    Record {
        members: BTreeMap::from([(CHAT.into(), ["ann", "bob", "cid"].map(String::from).into())]),
        attempts: vec![sent("one", "01"), sent("two", "02"), attempt("two", Outcome::Unknown), sent("three", "03")],
        connections: vec![
            connection("ann", "phone", vec![]),
            connection("ann", "tablet", vec![seen(Received, "01", "one")]),
            connection("bob", "phone", vec![seen(Received, "01", "one"), seen(Received, "02", "two")]),
            connection("bob", "tablet", vec![seen(Notified, "03", "three")]),
            connection("cid", "phone", vec![seen(Notified, "01", "one"), seen(Notified, "02", "two")]),
            connection("cid", "phone", vec![seen(Pending, "02", "two"), seen(Pending, "03", "three")]),
        ],
        pending_may_be_late: false,
    }
}

fn faults(change: impl FnOnce(&mut Record)) -> Vec<Fault> {
    let mut record = good();
    change(&mut record);
    check(&record).expect_err("the fault is found")
}

#[test]
fn good_record_passes_and_is_counted() {
    let report = check(&good()).unwrap();
    assert_eq!((report.sent, report.unknown, report.refused), (3, 0, 0));
    assert_eq!((report.resent, report.repeats), (1, 1));
    assert_eq!(report.deliveries[&Kind::Received], 3);
    assert_eq!(report.deliveries[&Kind::Pending], 2);
}

#[test]
fn lost_message_is_found() {
    let found = faults(|record| _ = record.connections[5].seen.pop());
    assert_eq!(found, [Fault::Lost { message_id: "03".into(), member: "cid".into() }]);
}

#[test]
fn message_nobody_saw_is_lost_for_every_other_member() {
    let found = faults(|record| record.attempts.push(sent("four", "04")));
    let lost = |member: &str| Fault::Lost { message_id: "04".into(), member: member.into() };
    assert_eq!(found, [lost("bob"), lost("cid")]);
}

#[test]
fn reordering_within_a_topic_is_found() {
    let found = faults(|record| record.connections[2].seen.reverse());
    assert!(matches!(&found[..], [Fault::Reordered { message_id, after, .. }] if message_id == "01" && after == "02"));
}

#[test]
fn reordering_over_connections_of_a_device_is_found() {
    let found = faults(|record| record.connections.swap(4, 5));
    assert!(matches!(&found[..], [Fault::Reordered { message_id, .. }] if message_id == "01"), "{found:?}");
}

#[test]
fn what_another_device_had_may_come_late_as_pending() {
    let mut record = good();
    record.connections[3].seen.push(seen(Kind::Pending, "02", "two"));
    check(&record).unwrap();
    record.connections[2].seen.pop();
    let found = check(&record).unwrap_err();
    assert!(matches!(&found[0], Fault::Reordered { message_id, .. } if message_id == "02"), "{found:?}");
}

#[test]
fn repeat_under_another_id_is_found() {
    let found = faults(|record| record.connections[5].seen[0].message_id = "025".into());
    assert_eq!(found, [Fault::TwoIds { content: "two".into(), first: "02".into(), second: "025".into() }]);
}

#[test]
fn repeat_with_another_content_is_found() {
    let found = faults(|record| record.connections[5].seen[0].content = "three".into());
    assert!(found.contains(&Fault::SharedId { message_id: "02".into(), first: "two".into(), second: "three".into() }));
}

#[test]
fn resend_answered_with_another_id_is_found() {
    let found = faults(|record| record.attempts[2].outcome = Outcome::Sent("09".into()));
    assert_eq!(found, [Fault::TwoIds { content: "two".into(), first: "02".into(), second: "09".into() }]);
}

#[test]
fn delivery_to_a_stranger_is_found() {
    let found = faults(|record| {
        record.connections.push(connection("eve", "phone", vec![seen(Kind::Received, "01", "one")]));
    });
    assert_eq!(found, [Fault::Stranger { message_id: "01".into(), user: "eve".into(), kind: Kind::Received }]);
}

#[test]
fn notification_of_the_sender_is_found() {
    let found = faults(|record| record.connections[0].seen.push(seen(Kind::Pending, "01", "one")));
    assert_eq!(found, [Fault::Stranger { message_id: "01".into(), user: "ann".into(), kind: Kind::Pending }]);
}

#[test]
fn phantom_is_found() {
    let found = faults(|record| record.connections[2].seen.push(seen(Kind::Received, "07", "never sent")));
    let phantom = Fault::Phantom { message_id: "07".into(), content: "never sent".into(), user: "bob".into() };
    assert_eq!(found, [phantom]);
}

#[test]
fn refused_message_that_was_delivered_is_found() {
    let found = faults(|record| {
        record.attempts.push(attempt("no", Outcome::Refused));
        record.connections[2].seen.push(seen(Kind::Received, "07", "no"));
    });
    let refused = Fault::RefusedDelivered { message_id: "07".into(), content: "no".into(), user: "bob".into() };
    assert_eq!(found, [refused]);
}

#[test]
fn message_without_an_answer_may_be_seen_or_not() {
    let mut record = good();
    record.attempts.push(attempt("maybe", Outcome::Unknown));
    assert_eq!(check(&record).unwrap().unknown, 1);
    record.connections[2].seen.push(seen(Kind::Received, "07", "maybe"));
    assert_eq!(check(&record).unwrap().unknown, 1);
    record.connections[5].seen.push(seen(Kind::Pending, "08", "maybe"));
    let two = Fault::TwoIds { content: "maybe".into(), first: "07".into(), second: "08".into() };
    assert_eq!(check(&record).unwrap_err(), [two]);
}

#[test]
fn what_another_gateway_owed_may_come_late_as_pending_and_as_nothing_else() {
    let late = |kind| {
        move |record: &mut Record| {
            record.connections[3].seen.push(seen(kind, "02", "two"));
            record.pending_may_be_late = true;
        }
    };
    let mut record = good();
    // Also to a device that has seen nothing of it elsewhere.
    record.connections[2].seen.pop();
    late(Kind::Pending)(&mut record);
    check(&record).expect("it may");
    record.pending_may_be_late = false;
    let reordered = |found: Vec<Fault>| found.iter().all(|fault| matches!(fault, Fault::Reordered { .. }));
    assert!(reordered(check(&record).unwrap_err()));
    assert!(reordered(faults(late(Kind::Notified))));
}
