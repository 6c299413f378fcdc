//! The topics that one connection has joined, and what a client's frame means to them.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{ClientFrame, Frames, Name, Payload, Ref, Serializer, ServerFrame, Status, reason};

/// The joined topics of one connection; `C` is the application's state for a channel.
///
/// A client joins a handful of topics and an idle connection has to stay small, so this is a list.
#[derive(Debug)]
pub struct Channels<C> {
    serializer: Serializer,
    topics_max: usize,
    joined: Vec<Joined<C>>,
}

#[derive(Debug)]
struct Joined<C> {
    topic: Arc<str>,
    instance: Instance,
    channel: C,
}

static NO_JOIN_REF: Ref = Ref::NULL;

/// One instance of a channel, from its join to its end.
#[derive(Debug, Clone)]
struct Instance {
    /// What replies and pushes carry: the join's `join_ref`, or its `ref` when that was null.
    effective: Ref,
    /// Whether the join named its instance; if not, it was sent `null` and only `null` is accepted from then on.
    is_named: bool,
}

impl Instance {
    fn new(join_ref: &Ref, reference: &Ref) -> Self {
        Instance { effective: join_ref.or(reference), is_named: !join_ref.is_null() }
    }

    /// The `join_ref` as the join sent it.
    fn as_sent(&self) -> &Ref {
        if self.is_named { &self.effective } else { &NO_JOIN_REF }
    }
}

/// What to do about one frame of a client.
#[derive(Debug)]
pub enum Step<'a, C> {
    /// Send this; nothing has changed.
    Answer(ServerFrame),
    /// Decide on the join, then call [`Channels::joined`] or [`Channels::refused`] before the next frame is received.
    Join {
        /// What the decision is given back with.
        request: JoinRequest,
        /// What the client sent along.
        payload: &'a RawValue,
        /// The instance that a duplicate join has ended, whatever comes of the join: clean it up first.
        previous: Option<C>,
    },
    /// Hand the event to the channel of its topic.
    Event(EventRequest<'a>),
    /// The channel has been left: clean it up, then send the frames.
    Leave {
        /// The topic it had joined.
        topic: Arc<str>,
        /// The instance that has ended.
        channel: C,
        /// The reply and the close.
        frames: Frames,
    },
    /// Meant for an instance that has ended: say nothing.
    Stale,
}

/// A join that the application has to decide on.
#[derive(Debug)]
pub struct JoinRequest {
    topic: Arc<str>,
    join_ref: Ref,
    reference: Ref,
    previous_close: Option<ServerFrame>,
}

impl JoinRequest {
    /// The topic to join; a route matches it.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }
}

/// An event for a joined topic.
#[derive(Debug)]
pub struct EventRequest<'a> {
    /// The event, of whatever JSON type; names of the protocol itself (`phx_reply`, …) may come too.
    pub event: Name<'a>,
    /// What the client sent along.
    pub payload: &'a RawValue,
    /// The way to answer, now or later.
    pub reply_to: ReplyTo,
}

/// The way to answer one event; outlives the frame it came in, and the channel.
#[derive(Debug, Clone)]
pub struct ReplyTo {
    serializer: Serializer,
    topic: Arc<str>,
    join_ref: Ref,
    reference: Ref,
}

impl ReplyTo {
    /// The topic of the channel.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Whether the client gave a `ref`; a reply without one is allowed, but no client can tell what it answers.
    pub fn carries_ref(&self) -> bool {
        !self.reference.is_null()
    }

    /// The reply. Nothing checks that it is the only one, nor that replies of one topic are sent in the events' order.
    pub fn reply(&self, status: Status, response: &Payload) -> ServerFrame {
        let topic = Name::from(&*self.topic);
        ServerFrame::reply(self.serializer, &self.join_ref, &self.reference, &topic, status, response)
    }

    /// An event for the instance that was asked, even when the topic has been joined anew since.
    pub fn push(&self, event: &str, payload: &Payload) -> ServerFrame {
        ServerFrame::push(self.serializer, &self.join_ref, &self.topic, event, payload)
    }
}

impl<C> Channels<C> {
    /// No topic joined yet; at most `topics_max` may be at a time.
    pub fn new(serializer: Serializer, topics_max: usize) -> Self {
        Channels { serializer, topics_max, joined: Vec::new() }
    }

    /// Decides what a frame means. `routable` says whether the application knows the topic's pattern.
    ///
    /// The channel that a leave or a duplicate join ends is gone when this returns, and is handed over in the step.
    pub fn receive<'a>(&mut self, frame: ClientFrame<'a>, routable: impl Fn(&str) -> bool) -> Step<'a, C> {
        let (topic, event) = (frame.topic.as_text(), frame.event.as_text());
        if (topic, event) == (Some("phoenix"), Some("heartbeat")) {
            return Step::Answer(self.answer(&Ref::NULL, &frame, Status::Ok, &Payload::empty()));
        }
        let joined = topic.and_then(|topic| self.position(topic));
        match (joined, event) {
            (Some(index), Some("phx_join")) => self.join_again(index, frame),
            (Some(index), _) if !self.accepts(index, &frame.join_ref) => Step::Stale,
            (Some(index), Some("phx_leave")) => self.leave(index, &frame.reference),
            (Some(index), _) => Step::Event(self.event(index, frame)),
            (None, Some("phx_join")) if topic.is_some_and(routable) => self.join(frame),
            (None, Some("phx_leave")) => {
                Step::Answer(self.answer(&frame.join_ref, &frame, Status::Ok, &Payload::empty()))
            }
            (None, _) => {
                let response = Payload::reason(reason::UNMATCHED_TOPIC);
                Step::Answer(self.answer(&Ref::NULL, &frame, Status::Error, &response))
            }
        }
    }

    /// The join was accepted: the topic is joined from now on. Send the frames before anything of the new channel's.
    pub fn joined(&mut self, request: JoinRequest, channel: C, response: &Payload) -> Frames {
        let frames = self.decided(&request, Status::Ok, response);
        let instance = Instance::new(&request.join_ref, &request.reference);
        debug_assert!(self.position(&request.topic).is_none(), "a join is decided before the next frame is received");
        // Not the usual doubling: most connections stay at two topics for good.
        self.joined.reserve_exact(1);
        self.joined.push(Joined { topic: request.topic, instance, channel });
        frames
    }

    /// The join was refused, or has failed; the topic stays unjoined.
    pub fn refused(&mut self, request: JoinRequest, response: &Payload) -> Frames {
        self.decided(&request, Status::Error, response)
    }

    /// An event for one joined channel; `None` when the topic is not joined. The payload has to be an object.
    pub fn push_to(&self, topic: &str, event: &str, payload: &Payload) -> Option<ServerFrame> {
        let joined = &self.joined[self.position(topic)?];
        Some(ServerFrame::push(self.serializer, &joined.instance.effective, topic, event, payload))
    }

    /// Ends a channel for good: the client will not join again by itself. `None` when the topic is not joined.
    pub fn close(&mut self, topic: &str) -> Option<(C, ServerFrame)> {
        let ended = self.end(topic)?;
        Some((ended.channel, ServerFrame::close(self.serializer, ended.instance.as_sent(), topic)))
    }

    /// Ends a channel that has failed: the client will join again soon. `None` when the topic is not joined.
    pub fn crash(&mut self, topic: &str) -> Option<(C, ServerFrame)> {
        let ended = self.end(topic)?;
        Some((ended.channel, ServerFrame::crash(self.serializer, ended.instance.as_sent(), topic)))
    }

    /// Ends every channel without a frame, as the end of the connection does.
    pub fn drain(&mut self) -> impl Iterator<Item = (Arc<str>, C)> + '_ {
        self.joined.drain(..).map(|joined| (joined.topic, joined.channel))
    }

    /// The serializer all frames of this connection are for.
    pub fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// The channel of a joined topic.
    pub fn get(&self, topic: &str) -> Option<&C> {
        self.position(topic).map(|index| &self.joined[index].channel)
    }

    /// The channel of a joined topic, to change it.
    pub fn get_mut(&mut self, topic: &str) -> Option<&mut C> {
        self.position(topic).map(|index| &mut self.joined[index].channel)
    }

    /// The joined topics, oldest join first.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &C)> {
        self.joined.iter().map(|joined| (&joined.topic, &joined.channel))
    }

    /// The joined topics, oldest join first, to change their channels.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut C)> {
        self.joined.iter_mut().map(|joined| (&joined.topic, &mut joined.channel))
    }

    /// How many topics are joined.
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether no topic is joined.
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    fn position(&self, topic: &str) -> Option<usize> {
        self.joined.iter().position(|joined| &*joined.topic == topic)
    }

    fn end(&mut self, topic: &str) -> Option<Joined<C>> {
        self.position(topic).map(|index| self.joined.remove(index))
    }

    fn accepts(&self, index: usize, join_ref: &Ref) -> bool {
        join_ref.is_null() || join_ref == self.joined[index].instance.as_sent()
    }

    fn join<'a>(&self, frame: ClientFrame<'a>) -> Step<'a, C> {
        if self.joined.len() >= self.topics_max {
            let response = Payload::reason(reason::TOO_MANY_CHANNELS);
            return Step::Answer(self.answer(&frame.join_ref, &frame, Status::Error, &response));
        }
        let topic = frame.topic.as_text().expect("only a string is routable").into();
        let request = JoinRequest { topic, join_ref: frame.join_ref, reference: frame.reference, previous_close: None };
        Step::Join { request, payload: frame.payload, previous: None }
    }

    fn join_again<'a>(&mut self, index: usize, frame: ClientFrame<'a>) -> Step<'a, C> {
        let Joined { topic, instance, channel } = self.joined.remove(index);
        let previous_close = Some(ServerFrame::close(self.serializer, instance.as_sent(), &topic));
        let request = JoinRequest { topic, join_ref: frame.join_ref, reference: frame.reference, previous_close };
        Step::Join { request, payload: frame.payload, previous: Some(channel) }
    }

    fn leave<'a>(&mut self, index: usize, reference: &Ref) -> Step<'a, C> {
        let Joined { topic, instance, channel } = self.joined.remove(index);
        let name = Name::from(&*topic);
        let first =
            ServerFrame::reply(self.serializer, &instance.effective, reference, &name, Status::Ok, &Payload::empty());
        let second = Some(ServerFrame::close(self.serializer, instance.as_sent(), &topic));
        Step::Leave { topic, channel, frames: Frames { first, second } }
    }

    fn event<'a>(&self, index: usize, frame: ClientFrame<'a>) -> EventRequest<'a> {
        let joined = &self.joined[index];
        let reply_to = ReplyTo {
            serializer: self.serializer,
            topic: joined.topic.clone(),
            join_ref: joined.instance.effective.clone(),
            reference: frame.reference,
        };
        EventRequest { event: frame.event, payload: frame.payload, reply_to }
    }

    fn decided(&self, request: &JoinRequest, status: Status, response: &Payload) -> Frames {
        let topic = Name::from(&*request.topic);
        let first =
            ServerFrame::reply(self.serializer, &request.join_ref, &request.reference, &topic, status, response);
        Frames { first, second: request.previous_close.clone() }
    }

    fn answer(&self, join_ref: &Ref, frame: &ClientFrame<'_>, status: Status, response: &Payload) -> ServerFrame {
        ServerFrame::reply(self.serializer, join_ref, &frame.reference, &frame.topic, status, response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_joined_topics_take_little_memory() {
        type Channel = [usize; 4];
        let mut channels = Channels::<Channel>::new(Serializer::V2, 100);
        for topic in ["chat:674bd8ba5a0b920001bd9f5d", "notifications:6745e201c337080846beba9a"] {
            let text = format!(r#"["10","10","{topic}","phx_join",{{}}]"#);
            let frame = ClientFrame::parse(Serializer::V2, &text).unwrap();
            let Step::Join { request, .. } = channels.receive(frame, |_| true) else { panic!("a join") };
            let _sent = channels.joined(request, [0; 4], &Payload::empty());
        }
        let topics_bytes: usize = channels.iter().map(|(topic, _)| 16 + topic.len()).sum();
        let joined_bytes = channels.joined.capacity() * size_of::<Joined<Channel>>();
        let total_bytes = size_of_val(&channels) + joined_bytes + topics_bytes;
        assert!(total_bytes <= 360, "{total_bytes} bytes");
        assert_eq!(size_of::<Ref>(), 24);
    }
}
