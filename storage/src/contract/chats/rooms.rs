//! When chats are in room mode, and who is a member of them then.

use super::super::{new_chat, new_user};
use super::{apply_routed, members, set, users};
use crate::{Change, ChatId, Chats, Routing, Sequence, Span, Storage, UserId};

use Routing::{Members, Room};

/// `until` 0: it lasts.
fn spans<const N: usize>(ends: [(u64, u64); N]) -> Vec<Span> {
    let span = |(since, until)| Span { since: Sequence(since), until: (until > 0).then_some(Sequence(until)) };
    ends.map(span).to_vec()
}

async fn room_spans(chats: &dyn Chats, chat: &ChatId) -> Vec<Span> {
    chats.room_spans(chat).await.expect("it answers")
}

/// Of a user in one chat of theirs.
async fn spans_of(chats: &dyn Chats, user: &UserId, chat: &ChatId) -> Vec<Span> {
    let rooms = chats.rooms_of(user, None, 100).await.expect("it reads");
    let mut spans = rooms.into_iter().filter(|room| room.chat == *chat).map(|room| room.spans);
    let found = spans.next().unwrap_or_default();
    assert!(spans.next().is_none(), "a chat is listed once");
    found
}

pub async fn a_chat_that_never_was_in_room_mode_has_no_spans(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(2));
    assert_eq!(room_spans(chats, &chat).await, []);
    apply_routed(chats, &chat, 1, set(&users), Members).await;
    apply_routed(chats, &chat, 2, Change::Remove(users[0].clone()), Members).await;
    assert_eq!(room_spans(chats, &chat).await, []);
    for user in &users {
        assert_eq!(chats.rooms_of(user, None, 10).await.expect("it reads"), []);
    }
}

pub async fn spans_begin_and_end_with_changes(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(3));
    let add = |n: usize| Change::Add(users[n].clone());
    let remove = |n: usize| Change::Remove(users[n].clone());
    apply_routed(chats, &chat, 1, set(&users[..2]), Members).await;
    for (sequence, change, routing, expected) in [
        (2, add(2), Room, spans([(2, 0)])),
        (3, remove(2), Room, spans([(2, 0)])),
        (4, remove(1), Members, spans([(2, 4)])),
        (5, add(1), Members, spans([(2, 4)])),
        (9, set(&users), Room, spans([(2, 4), (9, 0)])),
        (10, set(&[]), Members, spans([(2, 4), (9, 10)])),
    ] {
        apply_routed(chats, &chat, sequence, change, routing).await;
        assert_eq!(room_spans(chats, &chat).await, expected, "after {sequence}");
    }
}

pub async fn a_chat_may_be_in_room_mode_from_its_first_change(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(3));
    apply_routed(chats, &chat, 7, set(&users), Room).await;
    assert_eq!(room_spans(chats, &chat).await, spans([(7, 0)]));
    for user in &users {
        assert_eq!(spans_of(chats, user, &chat).await, spans([(7, 0)]));
    }
}

/// Also when the repetition asks for another routing: it is not applied.
pub async fn repeating_the_last_change_changes_no_span(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(2));
    apply_routed(chats, &chat, 1, set(&users[..1]), Members).await;
    for (sequence, routing, expected) in [(2, Room, spans([(2, 0)])), (3, Members, spans([(2, 3)]))] {
        for again in [routing, routing, Room, Members] {
            apply_routed(chats, &chat, sequence, set(&users), again).await;
            apply_routed(chats, &chat, sequence - 1, set(&users), again).await;
            assert_eq!(room_spans(chats, &chat).await, expected, "after {sequence}");
            assert_eq!(spans_of(chats, &users[0], &chat).await, spans([(2, 0)]));
        }
    }
}

pub async fn every_member_enters_when_room_mode_begins(storage: Storage) {
    for kind in 0..3 {
        let (chats, chat, users) = (&*storage.chats, new_chat(), users(5));
        apply_routed(chats, &chat, 1, set(&users[..4]), Members).await;
        let change = match kind {
            0 => Change::Add(users[4].clone()),
            1 => Change::Remove(users[3].clone()),
            _ => set(&users[1..]),
        };
        apply_routed(chats, &chat, 2, change, Room).await;
        let members = members(chats, &chat, 10).await;
        for user in &users {
            let expected = if members.contains(user) { spans([(2, 0)]) } else { Vec::new() };
            assert_eq!(spans_of(chats, user, &chat).await, expected);
        }
    }
}

pub async fn who_joins_a_room_enters_and_the_others_stay_as_they_are(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(4));
    apply_routed(chats, &chat, 1, set(&users[..2]), Room).await;
    apply_routed(chats, &chat, 2, Change::Add(users[2].clone()), Room).await;
    apply_routed(chats, &chat, 3, Change::Add(users[0].clone()), Room).await;
    apply_routed(chats, &chat, 4, set(&users), Room).await;
    for (user, since) in users.iter().zip([1, 1, 2, 4]) {
        assert_eq!(spans_of(chats, user, &chat).await, spans([(since, 0)]));
    }
}

pub async fn who_leaves_a_room_keeps_what_was_before_and_may_come_back(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(3));
    let user = &users[0];
    apply_routed(chats, &chat, 1, set(&users), Room).await;
    for (sequence, change, expected) in [
        (2, Change::Remove(user.clone()), spans([(1, 2)])),
        (3, Change::Remove(user.clone()), spans([(1, 2)])),
        (5, Change::Add(user.clone()), spans([(1, 2), (5, 0)])),
        (6, set(&users[1..]), spans([(1, 2), (5, 6)])),
        (7, set(&users), spans([(1, 2), (5, 6), (7, 0)])),
    ] {
        apply_routed(chats, &chat, sequence, change, Room).await;
        assert_eq!(spans_of(chats, user, &chat).await, expected, "after {sequence}");
        assert_eq!(spans_of(chats, &users[1], &chat).await, spans([(1, 0)]));
    }
}

/// Messages between are pending by the member; those of the spans are found where both overlap.
pub async fn membership_goes_on_when_room_mode_ends_and_begins_again(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(4));
    apply_routed(chats, &chat, 1, set(&users[..3]), Room).await;
    apply_routed(chats, &chat, 2, Change::Remove(users[2].clone()), Members).await;
    assert_eq!(spans_of(chats, &users[0], &chat).await, spans([(1, 0)]));
    assert_eq!(spans_of(chats, &users[2], &chat).await, spans([(1, 2)]));
    // Who joins now does not enter, and who leaves is gone.
    apply_routed(chats, &chat, 3, Change::Add(users[2].clone()), Members).await;
    apply_routed(chats, &chat, 4, Change::Remove(users[1].clone()), Members).await;
    assert_eq!(spans_of(chats, &users[2], &chat).await, spans([(1, 2)]));
    assert_eq!(spans_of(chats, &users[1], &chat).await, spans([(1, 4)]));
    apply_routed(chats, &chat, 5, Change::Add(users[3].clone()), Room).await;
    assert_eq!(room_spans(chats, &chat).await, spans([(1, 2), (5, 0)]));
    let expected = [spans([(1, 0)]), spans([(1, 4)]), spans([(1, 2), (5, 0)]), spans([(5, 0)])];
    for (user, expected) in users.iter().zip(expected) {
        assert_eq!(spans_of(chats, user, &chat).await, expected);
    }
}

pub async fn of_too_many_spans_the_last_are_kept(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(2));
    apply_routed(chats, &chat, 1, set(&users), Room).await;
    let mut expected = spans([(1, 0)]);
    for sequence in 2..2 * Span::MAX as u64 + 6 {
        let is_room = sequence % 2 == 1;
        let user = users[0].clone();
        let (change, routing) = if is_room { (Change::Add(user), Room) } else { (Change::Remove(user), Members) };
        apply_routed(chats, &chat, sequence, change, routing).await;
        expected = Span::after(expected, Sequence(sequence), is_room);
    }
    assert_eq!(expected.len(), Span::MAX);
    assert_eq!(room_spans(chats, &chat).await, expected);
    assert_eq!(spans_of(chats, &users[0], &chat).await, expected);
    assert_eq!(spans_of(chats, &users[1], &chat).await, spans([(1, 0)]));
}

pub async fn rooms_of_a_user_are_paged_sorted(storage: Storage) {
    let (chats, user) = (&*storage.chats, new_user());
    let longer = UserId::new(format!("{user}a")).expect("it is short");
    let base = new_chat();
    let mut all: Vec<_> = (0..10).map(|_| new_chat()).collect();
    all.extend(["a", "aa", "b", "😀"].map(|end| ChatId::new(format!("{base}{end}")).expect("it is short")));
    for chat in &all {
        apply_routed(chats, chat, 1, Change::Add(user.clone()), Room).await;
    }
    apply_routed(chats, &new_chat(), 1, Change::Add(longer), Room).await;
    apply_routed(chats, &new_chat(), 1, Change::Add(user.clone()), Members).await;
    all.sort();
    for max in [1, 3, 7, 14, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = chats.rooms_of(&user, after.as_ref(), max).await.expect("it reads");
            assert!(page.len() <= max);
            let Some(last) = page.last() else { break };
            after = Some(last.chat.clone());
            assert!(page.iter().all(|room| room.spans == spans([(1, 0)])));
            found.extend(page.into_iter().map(|room| room.chat));
        }
        assert_eq!(found, all, "with pages of {max}");
    }
}
