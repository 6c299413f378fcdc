//! A toy application on one connection: it routes `room:*` and knows an event for everything a channel can do.

use std::sync::Arc;

use crate::phoenix::{
    Channels, ClientFrame, EventRequest, JoinRequest, Malformed, Payload, ReplyTo, Serializer, ServerFrame, Status,
    Step, reason,
};

pub(super) struct Toy {
    serializer: Serializer,
    pub(super) channels: Channels<Instance>,
    /// What the application did, in order; its frames are no part of it.
    pub(super) log: Vec<String>,
    joins: usize,
    held: Vec<ReplyTo>,
}

/// The toy's channel: the number of the join that began it.
pub(super) struct Instance(usize);

impl Toy {
    pub(super) fn v1() -> Toy {
        Toy::new(Serializer::V1, 100)
    }

    pub(super) fn v2() -> Toy {
        Toy::new(Serializer::V2, 100)
    }

    pub(super) fn new(serializer: Serializer, topics_max: usize) -> Toy {
        let channels = Channels::new(serializer, topics_max);
        Toy { serializer, channels, log: Vec::new(), joins: 0, held: Vec::new() }
    }

    /// The frames that one frame of the client brings forth, in the order they are sent.
    pub(super) fn receive(&mut self, text: &str) -> Vec<String> {
        self.try_receive(text).unwrap()
    }

    pub(super) fn try_receive(&mut self, text: &str) -> Result<Vec<String>, Malformed> {
        let frame = ClientFrame::parse(self.serializer, text)?;
        let sent = match self.channels.receive(frame, |topic| topic.starts_with("room:")) {
            Step::Answer(frame) => vec![frame],
            Step::Join { request, payload, previous } => {
                self.clean_up(request.topic(), previous);
                self.join(request, Payload::from(payload))
            }
            Step::Event(event) => self.event(event),
            Step::Leave { topic, channel, frames } => {
                self.clean_up(&topic, Some(channel));
                frames.into_iter().collect()
            }
            Step::Stale => vec![],
        };
        Ok(sent.iter().map(|frame| frame.as_str().to_owned()).collect())
    }

    fn clean_up(&mut self, topic: &str, ended: Option<Instance>) {
        self.log.extend(ended.map(|Instance(number)| format!("{topic}#{number} ended")));
    }

    fn join(&mut self, request: JoinRequest, payload: Payload) -> Vec<ServerFrame> {
        self.joins += 1;
        let topic = request.topic().clone();
        let refuse = |channels: &mut Channels<Instance>, request, reason| {
            channels.refused(request, &Payload::reason(reason)).into_iter().collect()
        };
        self.log.push(format!("{topic}#{} asks", self.joins));
        match &*topic {
            "room:denied" => return refuse(&mut self.channels, request, "denied"),
            "room:broken" => return refuse(&mut self.channels, request, reason::JOIN_CRASHED),
            "room:once" if self.joins > 1 => return refuse(&mut self.channels, request, "once only"),
            _ => {}
        }
        let response = if &*topic == "room:echo" { payload } else { Payload::empty() };
        let mut sent: Vec<_> = self.channels.joined(request, Instance(self.joins), &response).into_iter().collect();
        if &*topic == "room:welcome" {
            sent.extend(self.channels.push_to(&topic, "welcome", &Payload::empty()));
        }
        sent
    }

    fn event(&mut self, request: EventRequest<'_>) -> Vec<ServerFrame> {
        let EventRequest { event, payload, reply_to } = request;
        let topic: Arc<str> = reply_to.topic().clone();
        let payload = Payload::from(payload);
        let ok = |reply_to: &ReplyTo| reply_to.reply(Status::Ok, &Payload::empty());
        match event.as_text() {
            Some("echo") => vec![reply_to.reply(Status::Ok, &payload)],
            Some("queue") => vec![reply_to.reply(Status::Other("queued"), &payload)],
            Some("push") => vec![self.channels.push_to(&topic, "pushed", &payload).unwrap(), ok(&reply_to)],
            Some("shout") => {
                vec![ServerFrame::broadcast(self.serializer, &topic, "shouted", &payload), ok(&reply_to)]
            }
            Some("quiet" | "phx_reply") => vec![],
            Some("hold") => {
                self.held.push(reply_to);
                vec![]
            }
            Some("release") => self.held.drain(..).chain([reply_to]).map(|reply_to| ok(&reply_to)).collect(),
            Some("whisper later") => self.held.drain(..).map(|held| held.push("whispered", &payload)).collect(),
            Some("stop") => {
                let (channel, close) = self.channels.close(&topic).unwrap();
                self.clean_up(&topic, Some(channel));
                vec![ok(&reply_to), close]
            }
            Some("fail") => {
                let (channel, crash) = self.channels.crash(&topic).unwrap();
                self.clean_up(&topic, Some(channel));
                vec![crash]
            }
            _ if reply_to.carries_ref() => {
                vec![reply_to.reply(Status::Error, &Payload::reason(reason::UNKNOWN_EVENT))]
            }
            _ => vec![],
        }
    }
}
