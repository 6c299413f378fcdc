//! The hub's end of a connection: a queue bounded by bytes that the connection's task drains, and what that task has
//! written and the client has not confirmed. Both are here so that the hub finds every obligation of a user under one lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use roost_storage::{ChatId, ConnectionId, DeviceId, Sequence, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::obligation::Obligation;
use super::token::{Kind, Token};
use super::watermark::Watermark;
use crate::close::Close;
use crate::phoenix::{Serializer, ServerFrame};

/// Something for the connection's task to do, in order.
pub(crate) enum Outgoing {
    /// Push a frame; the obligation, if any, is confirmed by the client's Pong.
    Frame(ServerFrame, Option<Obligation>),
    /// The user is no longer a member: end the channel.
    CloseChat(ChatId),
}

/// Something for the notification topic, in order; held back while pending is being replayed.
pub(crate) enum Notice {
    /// Push a live notification: a frame for each spelling of the topic that is joined.
    Live(Vec<ServerFrame>, Obligation),
    /// Push what an older connection of the user has not confirmed, unless it is settled by then. Encoded only then, so
    /// that however much it is, it does not count as queued.
    Carried(Obligation),
    /// Replay the user's pending before anything that comes after this.
    Replay,
}

/// What the connection's task takes in one turn.
pub(crate) enum Turn {
    Outgoing(Outgoing),
    Notice(Notice),
    Nothing,
}

/// One connection, as the hub knows it.
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    pub(crate) serializer: Serializer,
    bytes_max: usize,
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Default)]
struct Queue {
    outgoing: VecDeque<Outgoing>,
    notices: VecDeque<Notice>,
    bytes: usize,
    close: Option<Close>,
    written: Watermark<Token>,
}

impl Link {
    pub(crate) fn new(
        id: ConnectionId,
        user: UserId,
        device: DeviceId,
        serializer: Serializer,
        bytes_max: usize,
    ) -> Self {
        Self { id, user, device, serializer, bytes_max, queue: Mutex::default(), wake: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues something. Beyond the bound the connection is told to close as a slow client; what it was owed then
    /// becomes pending.
    pub(crate) fn send(&self, outgoing: Outgoing) {
        let mut queue = self.queue();
        if let Outgoing::Frame(frame, obligation) = &outgoing {
            if queue.close.is_some() && obligation.is_none() {
                return;
            }
            self.charge(&mut queue, frame.as_str().len());
        }
        queue.outgoing.push_back(outgoing);
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues a live notification behind whatever replay is due.
    pub(crate) fn notify(&self, frames: Vec<ServerFrame>, obligation: Obligation) {
        let mut queue = self.queue();
        self.charge(&mut queue, frames.iter().map(|frame| frame.as_str().len()).sum());
        queue.notices.push_back(Notice::Live(frames, obligation));
        drop(queue);
        self.wake.notify_one();
    }

    /// Queues what another connection has not confirmed.
    pub(super) fn carry_over(&self, obligation: Obligation) {
        self.queue().notices.push_back(Notice::Carried(obligation));
        self.wake.notify_one();
    }

    /// Queues a replay of pending, unless the last thing queued is one.
    pub(crate) fn replay(&self) {
        let mut queue = self.queue();
        if !matches!(queue.notices.back(), Some(Notice::Replay)) {
            queue.notices.push_back(Notice::Replay);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// Tells the connection to close. The first reason stays.
    pub(crate) fn close(&self, close: Close) {
        self.queue().close.get_or_insert(close);
        self.wake.notify_one();
    }

    fn charge(&self, queue: &mut Queue, bytes: usize) {
        queue.bytes += bytes;
        if queue.bytes > self.bytes_max {
            queue.close.get_or_insert(Close::SlowClient);
        }
    }

    /// Resolves when something was queued since the last turn that found nothing. Cancel safe.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Why the connection has been told to close, if it has.
    pub(crate) fn close_asked(&self) -> Option<Close> {
        self.queue().close
    }

    /// The next thing to do: frames first, then (unless `notices_held`) notices.
    pub(crate) fn take(&self, notices_held: bool) -> Turn {
        let mut queue = self.queue();
        if let Some(outgoing) = queue.outgoing.pop_front() {
            if let Outgoing::Frame(frame, _) = &outgoing {
                queue.bytes -= frame.as_str().len();
            }
            return Turn::Outgoing(outgoing);
        }
        if notices_held {
            return Turn::Nothing;
        }
        match queue.notices.pop_front() {
            Some(notice) => {
                if let Notice::Live(frames, _) = &notice {
                    queue.bytes -= frames.iter().map(|frame| frame.as_str().len()).sum::<usize>();
                }
                Turn::Notice(notice)
            }
            None => {
                if queue.outgoing.capacity() > 0 || queue.notices.capacity() > 0 {
                    // An idle connection owns no queue memory.
                    (queue.outgoing, queue.notices) = Default::default();
                }
                Turn::Nothing
            }
        }
    }

    /// Per chat, the oldest live notification that waits. A stored row of that chat which is newer came later, and has
    /// to come later here too.
    pub(crate) fn oldest_waiting(&self) -> HashMap<ChatId, Sequence> {
        let mut oldest = HashMap::new();
        for notice in &self.queue().notices {
            if let Notice::Live(_, obligation) | Notice::Carried(obligation) = notice {
                let message = obligation.message();
                oldest.entry(message.chat.clone()).or_insert(message.sequence);
            }
        }
        oldest
    }

    /// Takes back every obligation that `which` picks, queued or written and not confirmed, with the queued frames. Call it
    /// under the hub's lock of the user, so that nothing is queued meanwhile.
    pub(super) fn withdraw(&self, which: impl Fn(&Obligation, Kind) -> bool) -> Vec<Obligation> {
        let mut queue = self.queue();
        let Queue { outgoing, notices, bytes, written, .. } = &mut *queue;
        let withdrawn =
            written.withdraw(|token| matches!(token, Token::Live(obligation, kind) if which(obligation, *kind)));
        let mut taken: Vec<Obligation> = withdrawn
            .into_iter()
            .filter_map(|token| match token {
                Token::Live(obligation, _) => Some(obligation),
                Token::Pending(_) => None,
            })
            .collect();
        for item in std::mem::take(outgoing) {
            match item {
                Outgoing::Frame(frame, Some(obligation)) if which(&obligation, Kind::Room) => {
                    *bytes -= frame.as_str().len();
                    taken.push(obligation);
                }
                other => outgoing.push_back(other),
            }
        }
        for item in std::mem::take(notices) {
            match item {
                Notice::Live(frames, obligation) if which(&obligation, Kind::Notification) => {
                    *bytes -= frames.iter().map(|frame| frame.as_str().len()).sum::<usize>();
                    taken.push(obligation);
                }
                Notice::Carried(obligation) if which(&obligation, Kind::Notification) => taken.push(obligation),
                other => notices.push_back(other),
            }
        }
        taken
    }

    /// A clone of every obligation that `kinds` picks, queued or written and not confirmed. Call it under the hub's lock
    /// of the user.
    pub(super) fn unconfirmed(&self, kinds: impl Fn(Kind) -> bool) -> Vec<Obligation> {
        let queue = self.queue();
        let written = queue.written.iter().filter_map(|token| match token {
            Token::Live(obligation, kind) => Some((obligation, *kind)),
            Token::Pending(_) => None,
        });
        let outgoing = queue.outgoing.iter().filter_map(|item| match item {
            Outgoing::Frame(_, Some(obligation)) => Some((obligation, Kind::Room)),
            _ => None,
        });
        let notices = queue.notices.iter().filter_map(|notice| match notice {
            Notice::Live(_, obligation) | Notice::Carried(obligation) => Some((obligation, Kind::Notification)),
            Notice::Replay => None,
        });
        let all = written.chain(outgoing).chain(notices);
        all.filter(|(_, kind)| kinds(*kind)).map(|(obligation, _)| obligation.clone()).collect()
    }

    /// Something is about to be written that has to be confirmed.
    pub(crate) fn wrote(&self, token: Token) {
        self.queue().written.wrote(token);
    }

    /// The payload of the Ping to write now, if one is due.
    pub(crate) fn ping(&self, now: Instant) -> Option<Bytes> {
        self.queue().written.ping(now)
    }

    /// What a Pong confirms.
    pub(crate) fn pong(&self, payload: &[u8]) -> Vec<Token> {
        self.queue().written.pong(payload)
    }

    /// When the outstanding Ping was written.
    pub(crate) fn pinged(&self) -> Option<Instant> {
        self.queue().written.pinged()
    }

    /// Whether everything written is confirmed.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.queue().written.is_empty()
    }

    /// Whether no frame is queued; notices may be.
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue().outgoing.is_empty()
    }
}
