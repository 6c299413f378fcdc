//! Members of a chat: changing and listing them.

use std::time::Duration;

use hyper::StatusCode;
use roost_storage::{AppendError, Change, ChatId, EventBody, MemberPage, NewEvent, Sequence, UserId};
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::answer::{self, Answer};
use super::problem::{Code, Problem};
use crate::appender::Overloaded;
use crate::node::Node;

/// How long an answer waits for fanout to apply a change. Fanout takes milliseconds unless it is behind.
const APPLY_WAIT: Duration = Duration::from_secs(5);
const APPLY_PAUSE_MIN: Duration = Duration::from_millis(1);
const APPLY_PAUSE_MAX: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Changed {
    chat_id: ChatId,
    /// The change's place in the chat's order: messages below it went to the members before it, those above it to the
    /// members after it.
    sequence: Sequence,
    /// Whether fanout has got there.
    applied: bool,
}

#[derive(Serialize)]
struct Members {
    chat_id: ChatId,
    members: Vec<UserId>,
    next: Option<UserId>,
}

/// Puts a change into the chat's order, and waits a while for it to be applied.
///
/// # Errors
/// [`Code::Overloaded`] when nothing was accepted, [`Code::Unavailable`] when that is not known.
pub(super) async fn change(node: &Node, chat: ChatId, change: Change) -> Result<Answer, Problem> {
    let event = NewEvent { chat: chat.clone(), body: EventBody::Members(change), dedupe: None };
    let outcome = node.appender.append(event).map_err(|Overloaded| overloaded())?;
    let sequence = match outcome.await {
        Ok(Ok(appended)) => appended.sequence,
        Ok(Err(AppendError::Full)) => return Err(overloaded()),
        Ok(Err(AppendError::Storage(error))) => return Err(Problem::storage(&error)),
        Err(_) => {
            let detail = "the node is going down; the change may or may not take effect, repeating it is safe";
            return Err(Problem::new(Code::Unavailable, detail));
        }
    };
    let applied = is_applied_in_time(node, &chat, sequence).await;
    let status = if applied { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(answer::json(status, &Changed { chat_id: chat, sequence, applied }))
}

/// [`change`], for a chat that must exist: only a change of all members creates one.
pub(super) async fn change_existing(node: &Node, chat: ChatId, change: Change) -> Result<Answer, Problem> {
    check_exists(node, &chat).await?;
    self::change(node, chat, change).await
}

/// Some members, sorted.
pub(super) async fn members(node: &Node, chat: ChatId, after: Option<UserId>, limit: usize) -> Result<Answer, Problem> {
    check_exists(node, &chat).await?;
    // One more than is shown says whether there is more.
    let page = node.storage.chats.members(&chat, after.as_ref(), limit + 1).await;
    let (members, next) = cut(page.map_err(|error| Problem::storage(&error))?, limit);
    Ok(answer::json(StatusCode::OK, &Members { chat_id: chat, members, next }))
}

/// A backend may itself give less than was asked for, and then says where it stopped.
fn cut(mut page: MemberPage<UserId>, limit: usize) -> (Vec<UserId>, Option<UserId>) {
    if page.items.len() > limit {
        page.items.truncate(limit);
        page.next = page.items.last().cloned();
    }
    (page.items, page.next)
}

/// # Errors
/// [`Code::ChatNotFound`].
pub(super) async fn check_exists(node: &Node, chat: &ChatId) -> Result<(), Problem> {
    match node.storage.chats.applied(chat).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(Problem::new(Code::ChatNotFound, "create it with PUT /v1/chats/{chat}")),
        Err(error) => Err(Problem::storage(&error)),
    }
}

fn overloaded() -> Problem {
    Problem::new(
        Code::Overloaded,
        "the chat's partition takes nothing more until it has caught up; nothing was changed",
    )
}

async fn is_applied_in_time(node: &Node, chat: &ChatId, sequence: Sequence) -> bool {
    let (begun, mut pause) = (Instant::now(), APPLY_PAUSE_MIN);
    loop {
        match node.storage.chats.applied(chat).await {
            Ok(applied) if applied >= Some(sequence) => return true,
            Ok(_) => {}
            // The change is in the log and will be applied: not being able to see it yet is no failure.
            Err(error) => debug!(%error, "can not see yet whether a change of members was applied"),
        }
        if begun.elapsed() + pause > APPLY_WAIT {
            return false;
        }
        sleep(pause).await;
        pause = (pause * 2).min(APPLY_PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(members: &[&str], next: Option<&str>) -> MemberPage<UserId> {
        let user = |text: &&str| UserId::new(*text).unwrap();
        MemberPage { items: members.iter().map(user).collect(), next: next.as_ref().map(user) }
    }

    fn cut_to_two(members: &[&str], next: Option<&str>) -> MemberPage<UserId> {
        let (items, next) = cut(page(members, next), 2);
        MemberPage { items, next }
    }

    #[test]
    fn a_page_says_where_the_next_begins_only_when_there_is_one() {
        assert_eq!(cut_to_two(&["a", "b", "c"], Some("c")), page(&["a", "b"], Some("b")));
        assert_eq!(cut_to_two(&["a", "b"], None), page(&["a", "b"], None));
        assert_eq!(cut_to_two(&[], None), page(&[], None));
        assert_eq!(cut_to_two(&["a"], Some("a")), page(&["a"], Some("a")));
    }
}
