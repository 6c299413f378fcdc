//! One connection: its socket, its conversation, and the loop between them.
//!
//! The loop waits for: a frame from the client, or room in the socket; something queued by the hub; the answer to a
//! send; a page of pending; the next deadline (idle, token expiry, Pong, throttle). Everything is written by this one
//! task; one flush carries all that was queued.

mod rate;
mod replay;
mod socket;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use roost_storage::{DeviceId, PendingKey};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{self, Message};
use tracing::{debug, error};

use crate::auth::Verified;
use crate::chat::{self, Conversation};
use crate::close::Close;
use crate::hub::{Kind, Link, Notice, Outgoing, Row, Token, Turn};
use crate::node::{Node, Place};
use crate::phoenix::{Serializer, ServerFrame};
use rate::Rate;
use replay::{Page, Replay, Source};
pub(crate) use socket::Socket;

/// How long a drained connection may take to confirm what it was sent before it is closed all the same.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens that live longer expire after this on an open connection: ten years.
const FAR_AWAY: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Who is at the other end, as the handshake found.
pub(crate) struct Peer {
    pub(crate) verified: Verified,
    pub(crate) device: DeviceId,
    pub(crate) serializer: Serializer,
}

/// An open connection. Its task is the only one that touches it; others reach it through its [`Link`].
pub(crate) struct Connection {
    node: Arc<Node>,
    link: Arc<Link>,
    conversation: Conversation,
    socket: Socket,
    replay: Replay,
    /// Rows of the replay that are still to be written; the last frame of each carries its key.
    rows: VecDeque<(ServerFrame, Option<Row>)>,
    rate: Rate,
    heard: Instant,
    expires: Instant,
    is_finishing: bool,
}

enum Input {
    Frame(Option<Result<Message, tungstenite::Error>>),
    Flushed(Result<(), tungstenite::Error>),
    Answer(Vec<ServerFrame>),
    Page(Page),
    Wake,
}

impl Connection {
    /// Runs a connection until it has ended and everything it was owed is confirmed or handed back.
    ///
    /// Not an async function: its future would have room for every argument beside the connection, which lives as long.
    pub(crate) fn serve(
        node: Arc<Node>,
        socket: Socket,
        peer: Peer,
        place: Place,
    ) -> impl Future<Output = ()> + Send + use<> {
        let connection = Box::new(Self::new(node, socket, peer));
        async move {
            connection.serve_boxed().await;
            drop(place);
        }
    }

    fn new(node: Arc<Node>, socket: Socket, peer: Peer) -> Self {
        let now = Instant::now();
        let link = Arc::new(Link::new(
            node.next_connection_id(),
            peer.verified.user,
            peer.device,
            peer.serializer,
            node.config.outbound_bytes_max,
        ));
        let left = peer.verified.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        Self {
            conversation: Conversation::new(node.clone(), link.clone()),
            replay: Replay::default(),
            rows: VecDeque::new(),
            rate: Rate::new(node.config.inbound_rate, now),
            heard: now,
            expires: now + left.min(FAR_AWAY) + node.expiry_grace,
            is_finishing: false,
            node,
            link,
            socket,
        }
    }

    async fn serve_boxed(self: Box<Self>) {
        let (node, link) = (self.node.clone(), self.link.clone());
        node.metrics.connections.inc();
        node.hub.attach(link.clone());
        let close = AssertUnwindSafe(self.run()).catch_unwind().await.unwrap_or_else(|_| {
            // A fault of ours took the connection down; what it was owed becomes pending, like any other's.
            error!(connection = %link.id, "connection crashed");
            chat::abandon(&node, &link);
            Close::Crashed
        });
        debug!(connection = %link.id, cause = close.label(), "connection closed");
        node.metrics.closed.with_label_values(&[close.label()]).inc();
        node.metrics.connections.dec();
    }

    /// What happens once at the end is boxed, so that no connection has room for it while it lives.
    async fn run(mut self: Box<Self>) -> Close {
        if self.node.is_draining() {
            self.link.close(Close::Restart);
        }
        let mut close = self.converse().await.err().unwrap_or(Close::ByClient);
        if close == Close::Restart {
            close = Box::pin(self.finish()).await;
        }
        self.conversation.end().await;
        self.replay.end(&self.node, &self.link).await;
        Box::pin(self.socket.close(close.frame())).await;
        close
    }

    /// Until there is a reason to close.
    async fn converse(&mut self) -> Result<(), Close> {
        let timer = tokio::time::sleep_until(self.heard + self.node.config.idle_timeout);
        tokio::pin!(timer);
        loop {
            self.write().await?;
            if self.is_finishing && self.is_finished() {
                return Err(Close::Restart);
            }
            let now = Instant::now();
            let deadline = self.check_deadlines(now)?;
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            // What is left to say after writing found no room in the socket: who does not read is not read.
            let is_reading = !self.rate.is_throttled(now)
                && self.conversation.has_said_all()
                && self.conversation.answers.len() < self.node.config.sends_in_flight_max
                && self.conversation.answers.bytes() < self.node.config.outbound_bytes_max;
            let input = tokio::select! {
                biased;
                input = self.socket.next(is_reading, self.is_finishing) => input,
                frames = self.conversation.answers.next() => Input::Answer(frames),
                page = self.replay.page() => Input::Page(page),
                () = self.link.woken() => Input::Wake,
                () = &mut timer => Input::Wake,
            };
            self.take(input).await?;
        }
    }

    async fn take(&mut self, input: Input) -> Result<(), Close> {
        match input {
            Input::Frame(Some(Ok(message))) => self.read(message).await,
            Input::Frame(Some(Err(error))) => Err(cause(&error)),
            Input::Frame(None) => Err(Close::ByClient),
            Input::Flushed(flushed) => flushed.map_err(|error| cause(&error)),
            Input::Answer(frames) => {
                self.conversation.push(frames);
                Ok(())
            }
            Input::Page(page) => {
                self.replay_page(page);
                Ok(())
            }
            Input::Wake => Ok(()),
        }
    }

    async fn read(&mut self, message: Message) -> Result<(), Close> {
        self.heard = Instant::now();
        match message {
            Message::Text(text) => self.read_text(&text).await,
            // A V1 binary frame is JSON text; V2's own binary form is not spoken yet.
            Message::Binary(bytes) if self.link.serializer == Serializer::V1 => {
                let text = std::str::from_utf8(&bytes).map_err(|_| Close::Malformed)?;
                self.read_text(text).await
            }
            Message::Binary(_) => Err(Close::Malformed),
            Message::Pong(counter) => {
                self.confirm(&counter);
                Ok(())
            }
            Message::Ping(_) => {
                self.count_frame();
                self.socket.pong_queued();
                Ok(())
            }
            Message::Close(_) => Err(Close::ByClient),
            Message::Frame(_) => Ok(()),
        }
    }

    async fn read_text(&mut self, text: &str) -> Result<(), Close> {
        self.node.metrics.frames_received.inc();
        self.count_frame();
        if self.is_finishing {
            return Ok(());
        }
        let outcome = self.conversation.on_text(text).await;
        if self.conversation.take_replay_ended() {
            self.rows.clear();
            self.replay.abandon(&self.node, &self.link);
        }
        outcome
    }

    fn count_frame(&mut self) {
        if self.rate.count(self.heard) {
            self.node.metrics.throttled.inc();
        }
    }

    fn confirm(&mut self, counter: &[u8]) {
        let confirmed = self.link.pong(counter);
        if confirmed.is_empty() {
            // Nobody asked for it: it counts like any other frame.
            self.count_frame();
        }
        for token in confirmed {
            match token {
                Token::Live(obligation, _) => {
                    if self.node.hub.confirm(obligation) {
                        self.node.metrics.confirmed_live.inc();
                    }
                }
                Token::Pending(row) => self.replay.confirmed(row, &self.node, &self.link),
            }
        }
    }

    /// Moves what there is to say into the socket, as far as the socket takes it, with one Ping behind what has to be
    /// confirmed.
    async fn write(&mut self) -> Result<(), Close> {
        // Before the socket's room is looked at: a client that takes nothing is closed all the same.
        if let Some(close) = self.link.close_asked()
            && !(self.is_finishing && close == Close::Restart)
        {
            return Err(close);
        }
        while self.socket.has_room() {
            if let Some(frame) = self.conversation.pop_output() {
                self.say(frame, None)?;
                continue;
            }
            if let Some((frame, row)) = self.rows.pop_front() {
                self.say(frame, row.map(Token::Pending))?;
                continue;
            }
            match self.link.take(self.replay.is_busy() || self.is_finishing) {
                Turn::Outgoing(Outgoing::Frame(frame, obligation)) => {
                    self.say(frame, obligation.map(|obligation| Token::Live(obligation, Kind::Room)))?
                }
                Turn::Outgoing(Outgoing::CloseChat(chat)) => self.conversation.close_chat(&chat).await?,
                Turn::Notice(Notice::Live(frames, obligation)) => {
                    self.say_notice(frames, Token::Live(obligation, Kind::Notification))?
                }
                Turn::Notice(Notice::Carried(obligation)) if obligation.is_settled() => {}
                Turn::Notice(Notice::Carried(obligation)) => {
                    let frames = self.conversation.notification_frames(obligation.message());
                    self.say_notice(frames, Token::Live(obligation, Kind::Notification))?;
                }
                // The topic may have been left meanwhile.
                Turn::Notice(Notice::Replay) if !self.conversation.is_notified() => {}
                Turn::Notice(Notice::Replay) => self.replay.start(&self.node, &self.link),
                Turn::Nothing => break,
            }
        }
        if let Some(counter) = self.link.ping(Instant::now()) {
            self.socket.feed(Message::Ping(counter)).map_err(|error| cause(&error))?;
        }
        Ok(())
    }

    fn say(&mut self, frame: ServerFrame, token: Option<Token>) -> Result<(), Close> {
        // Owed from before it is written: if writing fails, it is among the unconfirmed.
        if let Some(token) = token {
            self.link.wrote(token);
        }
        self.node.metrics.frames_sent.inc();
        self.socket.feed(frame.into()).map_err(|error| cause(&error))
    }

    fn say_notice(&mut self, frames: Vec<ServerFrame>, token: Token) -> Result<(), Close> {
        // The Ping goes out behind all of them, so one token in front covers each spelling's frame.
        self.link.wrote(token);
        frames.into_iter().try_for_each(|frame| self.say(frame, None))
    }

    /// Pushes a page. A row that may not come yet is left out and stays; of a room's history nothing may be left out, so
    /// the rest waits with it.
    fn replay_page(&mut self, mut page: Page) {
        let waiting = self.link.oldest_waiting();
        let mut pushed = 0;
        let is_row = matches!(page.source, Source::Rows);
        let messages = std::mem::take(&mut page.messages);
        for message in messages {
            // Stored after this replay began: it stays for the one behind what waits.
            let is_early = waiting.get(&message.chat).is_some_and(|oldest| *oldest < message.sequence);
            let mut frames = if is_early { Vec::new() } else { self.conversation.pending_frames(&message) };
            if is_early {
                self.link.replay();
            }
            match frames.pop() {
                Some(last) if page.messages.is_empty() => {
                    self.rows.extend(frames.into_iter().map(|frame| (frame, None)));
                    self.rows.push_back((last, Some(self.replay.row(PendingKey::of(&message)))));
                    pushed += 1;
                }
                _ if is_row => {}
                _ => page.messages.push(message),
            }
        }
        self.node.metrics.replayed.inc_by(pushed as u64);
        self.replay.pushed(pushed, page, &self.node, &self.link);
    }

    /// The next moment at which something has to be decided.
    fn check_deadlines(&self, now: Instant) -> Result<Instant, Close> {
        let idle = self.heard + self.node.config.idle_timeout;
        let confirm = self.link.pinged().map(|at| at + self.node.config.confirm_timeout);
        let resume = self.rate.throttled_until().filter(|at| *at > now);
        if self.expires <= now {
            return Err(Close::TokenExpired);
        }
        if confirm.is_some_and(|at| at <= now) {
            return Err(Close::Unconfirmed);
        }
        if idle <= now {
            return Err(Close::Idle);
        }
        let earliest = [Some(idle), Some(self.expires), confirm, resume].into_iter().flatten().min();
        Ok(earliest.unwrap_or(idle))
    }

    /// Drains a connection of a node that goes down: nothing more is routed here or read; what is under way is
    /// answered, and what was sent is confirmed, as far as the client does it in time.
    async fn finish(&mut self) -> Close {
        self.is_finishing = true;
        self.conversation.begin_drain().await;
        match tokio::time::timeout(FINISH_TIMEOUT, self.converse()).await {
            Ok(Err(close)) => close,
            Ok(Ok(())) | Err(_) => Close::Restart,
        }
    }

    fn is_finished(&self) -> bool {
        self.conversation.answers.is_empty()
            && self.conversation.has_said_all()
            && self.rows.is_empty()
            && self.link.is_quiet()
            && self.link.is_confirmed()
            && self.socket.is_flushed()
    }
}

fn cause(error: &tungstenite::Error) -> Close {
    use tungstenite::error::ProtocolError;
    match error {
        tungstenite::Error::Capacity(_) => Close::TooLarge,
        tungstenite::Error::Utf8(_) => Close::InvalidUtf8,
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Close::ByClient,
        tungstenite::Error::Protocol(_) => Close::ProtocolError,
        _ => Close::ByClient,
    }
}
