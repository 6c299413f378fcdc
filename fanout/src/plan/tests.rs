//! Each routing rule on its own.

use roost_storage::DeviceId;

use super::*;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn gateway(name: &str) -> GatewayId {
    GatewayId::new(name).unwrap()
}

fn connection(on: &str, number: u64) -> ConnectionId {
    ConnectionId { gateway: gateway(on), number }
}

fn chat() -> ChatId {
    ChatId::new("chat").unwrap()
}

/// `"a room"`, `"b notifications"`, `"c both"`, `"d closing"`, `"e elsewhere"`: where, and what is joined there.
fn located(users: &[(&str, &[&str])]) -> Located {
    let session = |name: &str, number: usize, text: &str| {
        let (on, joined) = text.split_once(' ').unwrap();
        let chats: &[&str] = match joined {
            "room" | "both" => &["chat"],
            "elsewhere" => &["another"],
            _ => &[],
        };
        Session {
            user: user(name),
            connection: connection(on, number as u64),
            device: DeviceId::new("device").unwrap(),
            chats: chats.iter().map(|chat| ChatId::new(*chat).unwrap()).collect(),
            notifications: matches!(joined, "notifications" | "both"),
        }
    };
    users
        .iter()
        .map(|(name, texts)| {
            let sessions = texts.iter().enumerate().map(|(number, text)| session(name, number, text));
            (user(name), sessions.collect())
        })
        .collect()
}

fn message(number: u64, sender: &str, origin: Option<ConnectionId>, members: &[&str]) -> Outgoing {
    let message = Message { chat: chat(), sequence: Sequence(number), sender: user(sender), content: "hey".into() };
    let members = Arc::new(members.iter().map(|name| user(name)).collect());
    Outgoing { message, origin, audience: Audience::Members(members), previous: None }
}

/// The plan as text: `gateway: index=recipient,recipient`, then the unreachable.
fn shown(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for (gateway, entries) in &plan.gateways {
        for entry in entries {
            let recipients: Vec<_> = entry.recipients.iter().map(UserId::as_str).collect();
            lines.push(format!("{gateway}: {}={}", entry.index, recipients.join(",")));
        }
    }
    lines.extend(plan.unreachable.iter().map(|(index, user)| format!("unreachable: {index}={user}")));
    lines
}

#[track_caller]
fn assert_plan(sessions: &[(&str, &[&str])], outgoing: &[Outgoing], expected: &[&str]) {
    assert_eq!(shown(&plan(outgoing, &located(sessions), &Followers::new())), expected);
}

#[test]
fn a_member_in_the_room_gets_it_on_the_rooms_gateways_and_nowhere_else() {
    let sessions: &[(&str, &[&str])] = &[("ann", &["a room", "b notifications", "c both", "d elsewhere"])];
    assert_plan(sessions, &[message(1, "zoe", None, &["ann", "zoe"])], &["a: 0=ann", "c: 0=ann"]);
}

#[test]
fn a_member_not_in_the_room_gets_it_where_notifications_are_joined() {
    let sessions: &[(&str, &[&str])] = &[("ann", &["a elsewhere", "b notifications", "c notifications"])];
    assert_plan(sessions, &[message(1, "zoe", None, &["ann"])], &["b: 0=ann", "c: 0=ann"]);
}

#[test]
fn a_member_who_has_joined_neither_is_not_reachable() {
    let sessions: &[(&str, &[&str])] = &[("ann", &["a elsewhere", "b closing"])];
    let expected = ["unreachable: 0=ann", "unreachable: 0=bob"];
    assert_plan(sessions, &[message(1, "zoe", None, &["ann", "bob"])], &expected);
}

#[test]
fn the_sender_is_never_a_recipient_however_many_connections_they_have() {
    let sessions: &[(&str, &[&str])] = &[("zoe", &["a room", "b room", "c notifications"])];
    let origin = Some(connection("a", 0));
    assert_plan(sessions, &[message(1, "zoe", origin, &["zoe"])], &["b: 0="]);
}

#[test]
fn the_senders_other_connection_on_the_same_gateway_gets_an_entry_without_an_obligation() {
    let sessions: &[(&str, &[&str])] = &[("zoe", &["a room", "a room"]), ("ann", &["b room"])];
    let origin = Some(connection("a", 0));
    assert_plan(sessions, &[message(1, "zoe", origin, &["ann", "zoe"])], &["a: 0=", "b: 0=ann"]);
}

#[test]
fn a_sender_with_two_connections_in_the_room_does_not_hide_an_absent_member() {
    let sessions: &[(&str, &[&str])] = &[("zoe", &["a room", "a room"])];
    let origin = Some(connection("a", 0));
    assert_plan(sessions, &[message(1, "zoe", origin, &["ann", "zoe"])], &["a: 0=", "unreachable: 0=ann"]);
}

#[test]
fn who_is_not_a_member_gets_nothing_even_in_the_room() {
    let sessions: &[(&str, &[&str])] = &[("eve", &["a both"]), ("ann", &["b room"])];
    assert_plan(sessions, &[message(1, "zoe", None, &["ann"])], &["b: 0=ann"]);
}

#[test]
fn every_gateway_has_one_entry_per_message_in_their_order() {
    let sessions: &[(&str, &[&str])] = &[("ann", &["a room"]), ("bob", &["a room", "b room"])];
    let outgoing = [
        message(1, "zoe", None, &["ann", "bob"]),
        message(2, "ann", None, &["ann", "bob"]),
        message(3, "zoe", None, &["ann"]),
    ];
    let expected = ["a: 0=ann,bob", "a: 1=bob", "a: 2=ann", "b: 0=bob", "b: 1=bob"];
    assert_plan(sessions, &outgoing, &expected);
}

#[test]
fn a_refusal_counts_only_for_those_whom_no_other_gateway_took() {
    let sessions: &[(&str, &[&str])] = &[("ann", &["a room"]), ("bob", &["a room", "b room"])];
    let outgoing = [message(1, "zoe", None, &["ann", "bob"]), message(2, "zoe", None, &["ann", "bob"])];
    let plan = plan(&outgoing, &located(sessions), &Followers::new());
    let refused = |names: &[&str]| {
        let missed = refused_everywhere(&plan, &names.iter().map(|name| gateway(name)).collect());
        missed.iter().map(|(index, user)| format!("{index}={user}")).collect::<Vec<_>>()
    };
    assert!(refused(&[]).is_empty());
    assert!(refused(&["b"]).is_empty());
    assert_eq!(refused(&["a"]), ["0=ann", "1=ann"]);
    assert_eq!(refused(&["a", "b"]), ["0=ann", "0=bob", "1=ann", "1=bob"]);
}

#[test]
fn a_room_has_one_entry_for_each_follower_and_nobody_is_looked_up() {
    let audience = Audience::Room;
    let room = |number| Outgoing { audience: audience.clone(), ..message(number, "zoe", None, &[]) };
    let outgoing = [room(1), room(2)];
    let followers = Followers::from([(chat(), vec![gateway("a"), gateway("b")])]);
    let plan = plan(&outgoing, &Located::new(), &followers);
    assert_eq!(shown(&plan), ["a: 0=", "a: 1=", "b: 0=", "b: 1="]);
    assert!(matches!(plan.gateways[&gateway("a")][0].item(&outgoing), MailboxItem::DeliverRoom(_)));
    assert!(refused_everywhere(&plan, &[gateway("a"), gateway("b")].into()).is_empty());
}
