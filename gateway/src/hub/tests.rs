//! The hub's promises about obligations: none is forgotten, and notifications keep their order.

use std::sync::Arc;

use prometheus::Registry;
use roost_storage::{ChatId, ConnectionId, DeviceId, GatewayId, Message, Position, Sequence, UserId};

use super::*;
use crate::handback::Handback;
use crate::mailbox::Window;
use crate::metrics::Metrics;
use crate::phoenix::Serializer;

struct Rig {
    hub: Hub,
    window: Arc<Window>,
    handback: Arc<Handback>,
    next: u64,
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn chat() -> ChatId {
    ChatId::new("c").unwrap()
}

impl Rig {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::register(&Registry::new()).unwrap());
        let (window, handback) = (Window::new(metrics.clone()), Handback::new(metrics));
        Self { hub: Hub::new(), window, handback, next: 0 }
    }

    fn connect(&mut self, name: &str, bytes_max: usize) -> Arc<Link> {
        self.connect_from(name, "d", bytes_max)
    }

    fn connect_from(&mut self, name: &str, device: &str, bytes_max: usize) -> Arc<Link> {
        self.next += 1;
        let id = ConnectionId { gateway: GatewayId::new("g").unwrap(), number: self.next };
        let device = DeviceId::new(device).unwrap();
        let link = Arc::new(Link::new(id, user(name), device, Serializer::V2, bytes_max));
        self.hub.attach(link.clone());
        link
    }

    fn in_room(&mut self, name: &str) -> Arc<Link> {
        let link = self.connect(name, 1 << 20);
        self.hub.join_chat(&link, &chat());
        self.hub.enter_room(&link, &chat());
        link
    }

    fn notified(&mut self, name: &str) -> Arc<Link> {
        let link = self.connect(name, 1 << 20);
        self.hub.join_notifications(&link, Spelling::Notifications);
        assert!(matches!(link.take(false), Turn::Notice(Notice::Replay)), "pending comes first");
        link
    }

    /// Delivers one message to one user.
    fn deliver(&mut self, name: &str) -> Delivered {
        self.next += 1;
        let message =
            Message { chat: chat(), sequence: Sequence(self.next), sender: user("sender"), content: "hi".into() };
        let slot = self.window.admit(Position(0, self.next)).unwrap();
        let entry = Entry::new(message, 1, slot, self.handback.clone());
        self.hub.deliver(&user(name), &entry, &Encoded::new(&entry.message))
    }
}

fn obligation(turn: Turn) -> Obligation {
    match turn {
        Turn::Outgoing(Outgoing::Frame(_, Some(obligation)))
        | Turn::Notice(Notice::Live(_, obligation) | Notice::Carried(obligation)) => obligation,
        _ => panic!("no obligation was queued"),
    }
}

#[test]
fn in_the_room_means_no_notification_on_any_device() {
    let mut rig = Rig::new();
    let (phone, tablet) = (rig.in_room("u"), rig.notified("u"));
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    assert!(matches!(tablet.take(false), Turn::Nothing));
    assert!(obligation(phone.take(false)).confirm());
}

#[test]
fn one_confirmation_settles_a_message_for_all_devices() {
    let mut rig = Rig::new();
    let (phone, tablet) = (rig.in_room("u"), rig.in_room("u"));
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    let (first, second) = (obligation(phone.take(false)), obligation(tablet.take(false)));
    assert!(first.confirm());
    assert!(!second.clone().confirm(), "only the first counts");
    tablet.wrote(Token::Live(second, Kind::Room));
    assert!(rig.hub.detach(&tablet).owed.is_empty(), "nothing is owed after a confirmation");
}

#[test]
fn only_the_last_connection_to_end_leaves_what_is_owed() {
    let mut rig = Rig::new();
    let (phone, tablet) = (rig.in_room("u"), rig.in_room("u"));
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    phone.wrote(Token::Live(obligation(phone.take(false)), Kind::Room));
    assert!(rig.hub.detach(&phone).owed.is_empty(), "the tablet still answers for it");
    let owed = rig.hub.detach(&tablet).owed;
    assert_eq!(owed.len(), 1, "the tablet's was still queued");
    assert_eq!(owed[0].message().content.as_ref(), "hi");
}

#[test]
fn what_an_ended_connection_owed_is_replayed_before_the_next_live_notification() {
    let mut rig = Rig::new();
    let (phone, tablet) = (rig.in_room("u"), rig.notified("u"));
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    let owed = rig.hub.detach(&phone).owed;
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    assert!(matches!(tablet.take(false), Turn::Notice(Notice::Replay)), "the stored row comes first");
    assert!(matches!(tablet.take(true), Turn::Nothing), "and the live one waits for it");
    assert!(obligation(tablet.take(false)).confirm());
    owed.into_iter().for_each(Owed::stored);
    rig.hub.handed_back(&user("u"));
    assert!(rig.window.is_settled());
}

#[test]
fn the_oldest_waiting_notification_of_a_chat_is_known_to_a_replay() {
    let mut rig = Rig::new();
    let tablet = rig.notified("u");
    assert!(tablet.oldest_waiting().is_empty());
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    let first = Sequence(rig.next);
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    assert_eq!(tablet.oldest_waiting().into_iter().collect::<Vec<_>>(), [(chat(), first)]);
    assert!(obligation(tablet.take(false)).confirm());
    assert!(tablet.oldest_waiting()[&chat()] > first);
}

#[tokio::test]
async fn a_replay_waits_for_what_is_being_handed_back() {
    let mut rig = Rig::new();
    let Delivered::Nowhere(owed) = rig.deliver("u") else { panic!("nobody is connected") };
    let _tablet = rig.notified("u");
    let user = user("u");
    {
        let mut settled = std::pin::pin!(rig.hub.settled(&user));
        assert!(futures_util::poll!(settled.as_mut()).is_pending());
        owed.stored();
        rig.hub.handed_back(&user);
        settled.await;
    }
}

#[test]
fn a_connection_over_its_bound_is_closed_and_forgets_nothing() {
    let mut rig = Rig::new();
    let link = rig.connect("u", 100);
    rig.hub.join_chat(&link, &chat());
    for _ in 0..5 {
        assert!(matches!(rig.deliver("u"), Delivered::Room));
    }
    assert_eq!(link.close_asked(), Some(Close::SlowClient));
    assert_eq!(rig.hub.detach(&link).owed.len(), 5);
}

#[test]
fn leaving_a_room_gives_back_what_was_queued_there() {
    let mut rig = Rig::new();
    let link = rig.in_room("u");
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    let Left { owed, emptied, .. } = rig.hub.leave_chat(&link, &chat());
    assert_eq!((owed.len(), emptied), (1, vec![chat()]));
    assert!(matches!(link.take(false), Turn::Nothing));
}

#[test]
fn leaving_a_room_gives_back_what_was_written_there_and_not_confirmed() {
    let mut rig = Rig::new();
    let link = rig.in_room("u");
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    link.wrote(Token::Live(obligation(link.take(false)), Kind::Room));
    let ping = link.ping(tokio::time::Instant::now()).unwrap();
    let owed = rig.hub.leave_chat(&link, &chat()).owed;
    assert_eq!(owed.len(), 1, "the client drops frames of a channel it has left");
    assert!(link.pong(&ping).is_empty(), "so their Pong says nothing");
}

#[test]
fn what_another_connection_has_not_confirmed_comes_before_anything_newer() {
    let mut rig = Rig::new();
    let dead = rig.notified("u");
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    let written = obligation(dead.take(false));
    let first = written.message().sequence;
    dead.wrote(Token::Live(written, Kind::Notification));
    let back = rig.notified("u");
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    let (one, two) = (obligation(back.take(false)), obligation(back.take(false)));
    assert_eq!(one.message().sequence, first);
    assert!(two.message().sequence > first);
    assert!(one.confirm() && two.confirm());
    assert!(rig.hub.detach(&dead).owed.is_empty(), "confirmed by the other connection");
}

#[test]
fn who_is_in_a_room_on_another_device_is_not_notified_of_what_is_under_way_there() {
    let mut rig = Rig::new();
    let in_room = rig.in_room("u");
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    let other = rig.connect_from("u", "another", 1 << 20);
    rig.hub.join_notifications(&other, Spelling::Notifications);
    assert!(matches!(other.take(false), Turn::Notice(Notice::Replay)));
    assert!(matches!(other.take(false), Turn::Nothing));
    let same = rig.connect("u", 1 << 20);
    rig.hub.join_notifications(&same, Spelling::Notifications);
    assert!(matches!(same.take(false), Turn::Notice(Notice::Replay)));
    assert!(!obligation(same.take(false)).is_settled(), "the same device came back");
    assert!(obligation(in_room.take(false)).confirm());
}

#[test]
fn leaving_one_of_two_spellings_gives_back_what_was_written_and_replays_for_the_other() {
    let mut rig = Rig::new();
    let link = rig.notified("u");
    assert!(matches!(rig.deliver("u"), Delivered::Notification));
    link.wrote(Token::Live(obligation(link.take(false)), Kind::Notification));
    rig.hub.join_notifications(&link, Spelling::Notification);
    assert!(matches!(link.take(false), Turn::Notice(Notice::Replay)));
    let owed = rig.hub.leave_notifications(&link, Spelling::Notifications).owed;
    assert_eq!(owed.len(), 1, "its frame was for the spelling that is left");
    assert!(matches!(link.take(false), Turn::Notice(Notice::Replay)), "and the other gets it from pending");
}

#[test]
fn what_is_carried_over_does_not_count_as_queued() {
    let mut rig = Rig::new();
    let dead = rig.notified("u");
    for _ in 0..5 {
        assert!(matches!(rig.deliver("u"), Delivered::Notification));
        dead.wrote(Token::Live(obligation(dead.take(false)), Kind::Notification));
    }
    let back = rig.connect("u", 100);
    rig.hub.join_notifications(&back, Spelling::Notifications);
    assert_eq!(back.close_asked(), None);
    assert_eq!(back.oldest_waiting().len(), 1);
}

#[test]
fn an_obligation_that_is_merely_dropped_is_handed_back() {
    let mut rig = Rig::new();
    let link = rig.in_room("u");
    assert!(matches!(rig.deliver("u"), Delivered::Room));
    drop(obligation(link.take(false)));
    assert_eq!(rig.handback.queued(), 1);
}

#[test]
fn idle_users_leave_nothing_behind() {
    let mut rig = Rig::new();
    let link = rig.in_room("u");
    rig.hub.detach(&link);
    assert_eq!(rig.hub.connections(), 0);
    assert!(!rig.hub.is_in_room(&chat()));
    assert!(rig.hub.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
}
