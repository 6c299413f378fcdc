//! Reading what a replay pushes: the storage's side of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt as _, stream};
use roost_storage::{ChatId, Direction, Message, PendingKey, RoomMember, Sequence, Session, Span};
use tokio::time::Instant;

use super::plan::{Plan, segments};
use crate::hub::{Link, Missing};
use crate::node::Node;
use crate::retry::retry;

/// Messages pushed before their confirmation is waited for.
const PAGE: usize = 64;
/// Rooms of a user in one read.
const ROOMS_PAGE: usize = 500;
/// Rooms of a user followed at once.
const FOLLOWS_AT_ONCE: usize = 16;
/// How long to wait for the same user's closing connection on another gateway, whose rows come first.
const CLOSING_WAIT: Duration = Duration::from_secs(5);
/// How often to look whether it is still there.
const CLOSING_AGAIN: Duration = Duration::from_millis(50);

/// Messages to push, and what is known once they are confirmed.
pub(crate) struct Page {
    pub(crate) messages: Vec<Message>,
    pub(crate) source: Source,
    pub(super) plan: Plan,
}

/// Where a page is from.
pub(crate) enum Source {
    /// Rows of pending, which are deleted.
    Rows,
    /// A room's history: confirmed from `origin` through `through` then, or with `finishes` to its end.
    Room { chat: ChatId, origin: Sequence, through: Sequence, finishes: Option<Finish> },
}

/// What was missing of a room is read.
pub(crate) struct Finish {
    pub(super) through: Sequence,
    pub(super) rings: u64,
}

/// Makes a plan of everything pending, and reads its first page.
pub(super) async fn first_page(node: &Arc<Node>, link: &Link) -> Page {
    // Rows of connections that closed before come first, so that notifications keep their order.
    node.hub.settled(&link.user).await;
    let sessions = settled_elsewhere(node, link).await;
    node.hub.set_elsewhere(&link.user, sessions.into_iter().flat_map(|session| session.chats).collect());
    let plan = plan(node, link).await;
    next_page(node, link, plan).await
}

/// Reads the next page; an empty one without a rest when there is none.
pub(super) async fn next_page(node: &Node, link: &Link, mut plan: Plan) -> Page {
    while !plan.is_done() {
        if !plan.has_read_rows {
            let messages = read_rows(node, link, &mut plan).await;
            if !messages.is_empty() {
                return Page { messages, source: Source::Rows, plan };
            }
        }
        if !plan.segments.is_empty() {
            return read_room(node, link, plan).await;
        }
    }
    Page { messages: Vec::new(), source: Source::Rows, plan }
}

/// Rows up to where the next room's history comes. Empty when that is now, or when there are none.
async fn read_rows(node: &Node, link: &Link, plan: &mut Plan) -> Vec<Message> {
    let bound = plan.segments.front().map(|segment| segment.begins);
    loop {
        let pending = &node.storage.pending;
        let mut page = retry("read pending", || pending.page(&link.user, plan.after.as_ref(), PAGE)).await;
        let kept = page.messages.iter().take_while(|row| bound.is_none_or(|bound| row.sequence <= bound)).count();
        let is_cut = kept < page.messages.len();
        page.messages.truncate(kept);
        if let Some(last) = page.messages.last() {
            plan.after = Some(PendingKey::of(last));
        }
        if !is_cut {
            plan.has_read_rows = page.next.is_none();
            plan.after = page.next.or(plan.after.take());
        }
        if !page.messages.is_empty() || is_cut || plan.has_read_rows {
            return page.messages;
        }
    }
}

async fn read_room(node: &Node, link: &Link, mut plan: Plan) -> Page {
    let segment = plan.segments.front_mut().expect("the caller has looked");
    let (chat, origin, after) = (segment.chat.clone(), segment.origin, segment.after);
    let rings = node.hub.rings(&link.user, &chat);
    let history = &node.storage.history;
    let mut messages = retry("read history", || history.range(&chat, Some(after), Direction::Forward, PAGE)).await;
    let read = messages.len();
    let last = messages.last().map_or(after, |message| message.sequence);
    messages.retain(|message| segment.through.is_none_or(|through| message.sequence <= through));
    let is_end = read < PAGE || messages.len() < read;
    let through = match segment.through {
        Some(through) if is_end => through,
        _ => last,
    };
    segment.after = through;
    let mut finishes = None;
    if is_end {
        let segment = plan.segments.pop_front().expect("the caller has looked");
        finishes = segment.completes.map(|completes| Finish { through: completes.unwrap_or(through), rings });
        if segment.completes == Some(None) {
            node.hub.ending(&link.user, &chat, through, rings);
        }
    }
    messages.retain(|message| message.sender != link.user);
    Page { messages, source: Source::Room { chat, origin, through, finishes }, plan }
}

/// Which rooms the user has to read, and where between the rows.
async fn plan(node: &Arc<Node>, link: &Link) -> Plan {
    let user = &link.user;
    let members = enter_rooms(node, link).await;
    let missing = node.hub.missing(user);
    if missing.is_empty() {
        return Plan::default();
    }
    // In every replay: other gateways may have stored more since.
    let cursors = retry("load cursors", || node.storage.cursors.of(user)).await;
    node.hub.load_cursors(user, &cursors);
    // What is older has expired.
    let oldest = SystemTime::now() - node.chats.pending_ttl;
    let oldest = Sequence::next(None, oldest);
    let mut found = Vec::new();
    for (chat, Missing { after, through, .. }) in node.hub.missing(user) {
        let rings = node.hub.rings(user, &chat);
        let room = retry("read a chat", || node.storage.chats.room_spans(&chat)).await;
        let member = members.get(&chat).map_or(&[][..], Vec::as_slice);
        let parts = segments(&chat, &room, member, after, through, oldest);
        if parts.is_empty() {
            node.hub.nothing_is_missing(user, &chat, rings);
        }
        found.extend(parts);
    }
    Plan::new(found)
}

/// Makes the user's rooms come here from now on, and returns when the user was a member of each.
async fn enter_rooms(node: &Arc<Node>, link: &Link) -> BTreeMap<ChatId, Vec<Span>> {
    loop {
        let removals = node.hub.removals(&link.user);
        let rooms = read_rooms(node, link).await;
        let mut holds = true;
        for (chat, spans) in &rooms {
            if Span::is_open(spans) {
                holds &= node.hub.enter_room_mode(&link.user, chat, removals);
            } else {
                node.hub.leave_room_mode(&link.user, chat);
                node.hub.read_former_room(&link.user, chat);
            }
        }
        let chats: Vec<ChatId> = rooms.keys().cloned().collect();
        let follows = stream::iter(chats).map(|chat| async move { node.following.room_at_last(&chat).await });
        follows.buffer_unordered(FOLLOWS_AT_ONCE).collect::<()>().await;
        if holds {
            return rooms;
        }
    }
}

async fn read_rooms(node: &Node, link: &Link) -> BTreeMap<ChatId, Vec<Span>> {
    let mut rooms = BTreeMap::new();
    let mut after = None;
    loop {
        let chats = &node.storage.chats;
        let page = retry("read rooms", || chats.rooms_of(&link.user, after.as_ref(), ROOMS_PAGE)).await;
        let is_last = page.len() < ROOMS_PAGE;
        after = page.last().map(|room| room.chat.clone());
        rooms.extend(page.into_iter().map(|RoomMember { chat, spans }| (chat, spans)));
        if is_last {
            return rooms;
        }
    }
}

/// The user's sessions on other gateways, once none of them is closing or that took too long.
async fn settled_elsewhere(node: &Node, link: &Link) -> Vec<Session> {
    let users = [link.user.clone()];
    let deadline = Instant::now() + CLOSING_WAIT;
    loop {
        let found = retry("look up sessions", || node.storage.sessions.look_up(&users)).await;
        let others = found.into_iter().flatten().filter(|session| session.connection.gateway != node.id);
        let others: Vec<Session> = others.collect();
        if Instant::now() > deadline || !others.iter().any(Session::is_closing) {
            return others;
        }
        tokio::time::sleep(CLOSING_AGAIN).await;
    }
}
