//! The chat on top of the Phoenix wire: one connection's conversation. It takes a frame's text and queues frames; there
//! is no socket in it.
//!
//! Answers keep the order in which a topic's events came, although a send waits for the event log while the next frame
//! is read already. A join or a leave waits for the sends before it, and nothing is read meanwhile (as in Phoenix).

mod answers;
mod join_chat;
mod join_notifications;
mod leave;
mod reason;
mod send_message;
mod topic;
mod typing;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use roost_storage::{ChatId, Membership, Message, Registration, Session, SessionKey, StorageError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{debug, warn};

pub(crate) use answers::Answers;
use topic::Topic;

use crate::close::Close;
use crate::hub::{Encoded, Left, Link, Spellings, message_payload};
use crate::node::Node;
use crate::phoenix::{
    self, Channels, ClientFrame, EventRequest, Frames, JoinRequest, Payload, ServerFrame, Status, Step,
};

/// How long a join may block its socket. A `phoenix.js` client gives up after 10 s and joins again.
const JOIN_TIMEOUT: Duration = Duration::from_secs(8);

/// One connection's conversation.
pub(crate) struct Conversation {
    node: Arc<Node>,
    link: Arc<Link>,
    channels: Channels<Topic>,
    session: Session,
    is_registered: bool,
    spellings: Spellings,
    /// A channel of the notification topic has begun or ended since [`Conversation::take_replay_ended`].
    has_replay_ended: bool,
    pub(crate) answers: Answers,
    output: VecDeque<ServerFrame>,
}

/// Detaches a connection whose task has crashed; what it had written was handed back when it unwound.
pub(crate) fn abandon(node: &Node, link: &Link) {
    let left = node.hub.detach(link);
    let session = SessionKey { user: link.user.clone(), connection: link.id.clone() };
    node.handback.store(link.user.clone(), left, Some(session));
}

/// Reads an event's payload, which has to be an object: serde would take an array's elements for the fields.
fn read_object<'a, T: Deserialize<'a>>(payload: &'a RawValue) -> Option<T> {
    let is_object = payload.get().starts_with('{');
    is_object.then(|| serde_json::from_str(payload.get()).ok()).flatten()
}

/// Why a join did not happen.
enum JoinFailure {
    /// The client may not, for this reason.
    Refused(&'static str),
    /// The storage could not say.
    Unavailable,
    /// This node has lost its lease.
    GatewayLost,
}

impl From<StorageError> for JoinFailure {
    fn from(error: StorageError) -> Self {
        warn!(%error, "join not decided");
        Self::Unavailable
    }
}

impl Conversation {
    pub(crate) fn new(node: Arc<Node>, link: Arc<Link>) -> Self {
        let session = Session {
            user: link.user.clone(),
            connection: link.id.clone(),
            device: link.device.clone(),
            chats: BTreeSet::new(),
            notifications: false,
        };
        Self {
            channels: Channels::new(link.serializer, node.config.topics_max),
            answers: Answers::default(),
            output: VecDeque::new(),
            is_registered: false,
            spellings: Spellings::default(),
            has_replay_ended: false,
            session,
            node,
            link,
        }
    }

    /// Takes one text frame; what there is to say is in [`Conversation::pop_output`] and [`Answers::next`] afterwards.
    ///
    /// # Errors
    /// The reason to close the connection.
    pub(crate) async fn on_text(&mut self, text: &str) -> Result<(), Close> {
        let frame = ClientFrame::parse(self.link.serializer, text).map_err(|_| Close::Malformed)?;
        match self.channels.receive(frame, topic::is_routable) {
            Step::Answer(frame) => self.say_first(frame),
            Step::Stale => {}
            Step::Event(event) => self.on_event(event),
            Step::Join { request, previous, .. } => {
                self.settle_answers().await;
                // Rare, and large: boxed, so that an idle connection has no room for it.
                return Box::pin(self.on_join(request, previous)).await;
            }
            Step::Leave { topic: _, channel, frames } => {
                self.settle_answers().await;
                return Box::pin(self.on_leave(channel, frames)).await;
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: EventRequest<'_>) {
        let topic = self.channels.get(event.reply_to.topic()).cloned();
        match (topic, event.event.as_text()) {
            (Some(Topic::Chat(chat)), Some("send_message")) => self.on_send_message(chat, event),
            (Some(Topic::Chat(chat)), Some("typing")) => self.on_typing(&chat, event),
            _ => self.refuse_event(&event, phoenix::reason::UNKNOWN_EVENT),
        }
    }

    async fn on_join(&mut self, request: JoinRequest, previous: Option<Topic>) -> Result<(), Close> {
        let topic = Topic::parse(request.topic());
        let joined = tokio::time::timeout(JOIN_TIMEOUT, async {
            match &topic {
                Some(Topic::Chat(chat)) => self.join_chat(chat).await,
                Some(Topic::Notifications(spelling, user)) => self.join_notifications(*spelling, user).await,
                // What follows the prefix is no identifier: nobody's topic, and no chat's.
                None if topic::is_chat(request.topic()) => Err(JoinFailure::Refused(reason::CHAT_NOT_FOUND)),
                None => Err(JoinFailure::Refused(reason::UNAUTHORIZED)),
            }
        });
        let (failure, result) = match joined.await.unwrap_or(Err(JoinFailure::Unavailable)) {
            Ok(()) => (None, "ok"),
            Err(JoinFailure::Refused(reason)) => (Some(reason), "refused"),
            Err(JoinFailure::Unavailable) => (Some(reason::UNAVAILABLE), "unavailable"),
            Err(JoinFailure::GatewayLost) => return Err(Close::Restart),
        };
        self.node.metrics.joins.with_label_values(&[result]).inc();
        let frames = match (failure, topic) {
            (None, Some(topic)) => self.channels.joined(request, topic, &Payload::empty()),
            (failure, topic) => {
                let frames = self.channels.refused(request, &Payload::reason(failure.unwrap_or(reason::UNAVAILABLE)));
                // The previous instance of the channel is gone as well.
                if let Some(topic) = topic.or(previous) {
                    self.withdraw(&topic).await?;
                }
                frames
            }
        };
        self.say_all(frames);
        Ok(())
    }

    /// Ends the channel of a chat that the user is no longer a member of. They may have been added again since; then it
    /// stays.
    pub(crate) async fn close_chat(&mut self, chat: &ChatId) -> Result<(), Close> {
        let removals = self.node.hub.removals(&self.link.user);
        match self.node.storage.chats.membership(chat, &self.link.user).await {
            // It may have become a room while nobody found this node.
            Ok(Membership::Member) => {
                return match self.enter_room_mode(chat, removals).await {
                    Err(JoinFailure::GatewayLost) => Err(Close::Restart),
                    Ok(()) | Err(_) => Ok(()),
                };
            }
            Ok(Membership::NotMember | Membership::NoSuchChat) => {}
            Err(error) => warn!(%error, "membership unknown, ending the channel"),
        }
        self.settle_answers().await;
        if let Some((topic, frame)) = self.channels.close(&Topic::Chat(chat.clone()).to_string()) {
            self.withdraw(&topic).await?;
            self.say(frame);
        }
        Ok(())
    }

    /// Stops what the connection hears on a topic.
    async fn withdraw(&mut self, topic: &Topic) -> Result<(), Close> {
        let mut left = match topic {
            // Somebody else's was never joined.
            Topic::Notifications(_, user) if *user != self.link.user => return Ok(()),
            Topic::Chat(chat) => {
                self.session.chats.remove(chat);
                self.node.hub.leave_chat(&self.link, chat)
            }
            Topic::Notifications(spelling, _) => {
                self.has_replay_ended = true;
                self.spellings.remove(*spelling);
                self.session.notifications = !self.spellings.is_empty();
                self.node.hub.leave_notifications(&self.link, *spelling)
            }
        };
        let (emptied, rings) = (std::mem::take(&mut left.emptied), std::mem::take(&mut left.rings));
        // Before anything is waited for: a drain may give this up half-way.
        self.node.handback.store(self.link.user.clone(), left, None);
        let registered = self.update_registration().await;
        if rings {
            // Only now: whoever is rung looks where the user is.
            let rings = Left { rings, ..Left::default() };
            self.node.handback.store(self.link.user.clone(), rings, None);
        }
        for chat in &emptied {
            self.node.following.signals(chat).await;
        }
        match registered {
            Err(JoinFailure::GatewayLost) => Err(Close::Restart),
            // Left registered for too much: what is routed here for it is handed back.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the registry say what the connection has joined.
    async fn update_registration(&mut self) -> Result<(), JoinFailure> {
        if !self.session.is_closing() {
            return self.register().await;
        }
        if self.is_registered {
            self.node.storage.sessions.unregister(&self.session_key()).await?;
            self.is_registered = false;
        }
        Ok(())
    }

    async fn register(&mut self) -> Result<(), JoinFailure> {
        // Before the call: when it fails, or is given up, the session may be there all the same and has to be removed.
        self.is_registered = true;
        match self.node.storage.sessions.register(&self.session).await? {
            Registration::Done => Ok(()),
            Registration::GatewayLost => Err(JoinFailure::GatewayLost),
        }
    }

    /// Tells the registry that this connection takes nothing more, and that what it had not confirmed is being stored.
    async fn register_closing(&mut self) {
        self.session.chats.clear();
        self.session.notifications = false;
        if self.is_registered
            && let Err(JoinFailure::GatewayLost) = self.register().await
        {
            debug!("the gateway has no lease any more");
        }
    }

    fn session_key(&self) -> SessionKey {
        SessionKey { user: self.link.user.clone(), connection: self.link.id.clone() }
    }

    /// Nothing more is to be routed here; what is under way still comes.
    pub(crate) async fn begin_drain(&mut self) {
        self.register_closing().await;
    }

    /// The connection is over: everything it was owed goes to the hand-back.
    pub(crate) async fn end(&mut self) {
        let mut left = self.node.hub.detach(&self.link);
        let emptied = std::mem::take(&mut left.emptied);
        if left.is_awaited() || left.rings {
            self.register_closing().await;
        }
        let session = self.is_registered.then(|| self.session_key());
        self.node.handback.store(self.link.user.clone(), left, session);
        for chat in &emptied {
            self.node.following.signals(chat).await;
        }
    }

    /// The frames of one pending notification; none when the notification topic is not joined any more.
    pub(crate) fn pending_frames(&self, message: &Message) -> Vec<ServerFrame> {
        let payload = message_payload(message);
        self.spellings
            .iter()
            .filter_map(|spelling| {
                let topic = spelling.topic(&self.link.user);
                self.channels.push_to(&topic, spelling.pending_event(), &payload)
            })
            .collect()
    }

    /// The frames of one live notification.
    pub(crate) fn notification_frames(&self, message: &Message) -> Vec<ServerFrame> {
        Encoded::new(message).notification(self.link.serializer, &self.link.user, self.spellings)
    }

    /// Whether the notification topic is joined.
    pub(crate) fn is_notified(&self) -> bool {
        !self.spellings.is_empty()
    }

    /// Whether the channel that a replay may have been pushing on is gone: the client drops what comes for it.
    pub(crate) fn take_replay_ended(&mut self) -> bool {
        std::mem::take(&mut self.has_replay_ended)
    }

    /// The next frame to write.
    pub(crate) fn pop_output(&mut self) -> Option<ServerFrame> {
        let frame = self.output.pop_front();
        if frame.is_none() && self.output.capacity() > 0 {
            self.output = VecDeque::new();
        }
        frame
    }

    /// Waits for every send under way and queues its answer.
    pub(crate) async fn settle_answers(&mut self) {
        while !self.answers.is_empty() {
            let frames = self.answers.next().await;
            self.output.extend(frames);
        }
    }

    /// Queues an answer behind those of earlier events.
    fn say(&mut self, frame: ServerFrame) {
        if let Some(frame) = self.answers.queue_behind(frame) {
            self.output.push_back(frame);
        }
    }

    /// Queues an answer that waits for nothing: to a heartbeat, or on a topic that is not joined.
    fn say_first(&mut self, frame: ServerFrame) {
        self.output.push_back(frame);
    }

    fn say_all(&mut self, frames: Frames) {
        self.output.extend(frames);
    }

    pub(crate) fn has_said_all(&self) -> bool {
        self.output.is_empty()
    }

    /// Queues frames behind what is queued.
    pub(crate) fn push(&mut self, frames: Vec<ServerFrame>) {
        self.output.extend(frames);
    }

    fn refuse_event(&mut self, event: &EventRequest<'_>, reason: &str) {
        if event.reply_to.carries_ref() {
            self.say(event.reply_to.reply(Status::Error, &Payload::reason(reason)));
        }
    }
}
