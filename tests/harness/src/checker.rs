//! The judge of every crash test: compares what was sent with what each client saw. Pure: it is given a record and
//! names every fault in it.
//!
//! Rules, for each message whose sender was told `sent`: every other member of its chat saw it at least once, on some
//! device, as `receive_message`, `new_notification` or `pending_notification`. Besides: one message id per message,
//! whatever the number of attempts; what was refused is seen by nobody; nobody sees what is not theirs; repeats carry the
//! same id and content; first occurrences come in the order of the chat, within a connection's topic and, for
//! notifications, over all connections of one device. A message whose sender was told nothing may be seen or not.
//!
//! Two things may come late. What another device of the same user has already had, and a crash makes pending again: to
//! the user it is a repeat, only on a device that had not seen it. And where there are several gateways, what another
//! one owed: see [`Record::pending_may_be_late`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use crate::Frame;

#[cfg(test)]
mod tests;

/// How an attempt to send ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `message_sent` with status `sent` and this message id.
    Sent(String),
    /// `message_sent` with status `error`.
    Refused,
    /// The connection died before an answer, or the answer was that the storage did not give one.
    Unknown,
}

/// One attempt to send a message. Attempts with the same sender, chat, reference and content are the same message.
/// Contents tell messages of one sender in one chat apart: a test makes each unique.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who sent it.
    pub sender: String,
    /// Where.
    pub chat: String,
    /// The client's `mobile_ref_id`.
    pub reference: String,
    /// What.
    pub content: String,
    /// What the sender was told.
    pub outcome: Outcome,
}

/// As what a message was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `receive_message`.
    Received,
    /// `new_notification`.
    Notified,
    /// `pending_notification`, or `pending_notifications`.
    Pending,
}

/// One message as it reached a client.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The topic it came on.
    pub topic: String,
    /// As what.
    pub kind: Kind,
    /// Its chat.
    pub chat: String,
    /// Its sender.
    pub sender: String,
    /// Its id; ids of one chat sort as its messages do.
    pub message_id: String,
    /// Its content.
    pub content: String,
}

impl Seen {
    /// Reads a frame; nothing when it carries no message.
    pub fn from_frame(frame: &Frame) -> Option<Seen> {
        let kind = match frame.event.as_str() {
            "receive_message" => Kind::Received,
            "new_notification" => Kind::Notified,
            "pending_notification" | "pending_notifications" => Kind::Pending,
            _ => return None,
        };
        Some(Seen {
            topic: frame.topic.as_str().unwrap_or_default().to_owned(),
            kind,
            chat: frame.text("chat_id").to_owned(),
            sender: frame.text("sender_id").to_owned(),
            message_id: frame.text("message_id").to_owned(),
            content: frame.text("content").to_owned(),
        })
    }
}

/// Everything one connection saw, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Whose.
    pub user: String,
    /// On which device.
    pub device: String,
    /// What came.
    pub seen: Vec<Seen>,
}

/// What happened in a test.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The members of each chat, the same from start to end.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Everything that was tried.
    pub attempts: Vec<Attempt>,
    /// Every connection, those of one device in the order they were opened.
    pub connections: Vec<Connection>,
    /// There are several gateways. What one of them owes a connection that it believes to be alive becomes pending when
    /// the connection, or the gateway, is given up: after newer messages that came to the user on another gateway.
    pub pending_may_be_late: bool,
}

/// A broken promise.
#[expect(missing_docs, reason = "the fields say what each variant's sentence speaks of")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A member never saw a message that was `sent`.
    Lost { message_id: String, member: String },
    /// A message came after a later one of its chat, `after`, both for the first time.
    Reordered { message_id: String, after: String, user: String, device: String, topic: String },
    /// One message has two ids.
    TwoIds { content: String, first: String, second: String },
    /// Two messages have one id.
    SharedId { message_id: String, first: String, second: String },
    /// Somebody saw what is not theirs: not a member, or the sender among the notified.
    Stranger { message_id: String, user: String, kind: Kind },
    /// Somebody saw what nobody had sent.
    Phantom { message_id: String, content: String, user: String },
    /// Somebody saw what had been refused.
    RefusedDelivered { message_id: String, content: String, user: String },
}

/// What was counted on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Messages that were `sent`.
    pub sent: usize,
    /// Messages whose every attempt was refused.
    pub refused: usize,
    /// Messages whose sender never learned.
    pub unknown: usize,
    /// Attempts beyond each message's first.
    pub resent: usize,
    /// Sightings by kind.
    pub deliveries: BTreeMap<Kind, usize>,
    /// Sightings of a message that the same device had seen before.
    pub repeats: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |kind| self.deliveries.get(&kind).copied().unwrap_or_default();
        write!(
            f,
            "{} sent, {} refused, {} unknown, {} attempts again; seen {} times as receive_message, {} as \
             new_notification, {} as pending_notification; {} repeats on one device",
            self.sent,
            self.refused,
            self.unknown,
            self.resent,
            by(Kind::Received),
            by(Kind::Notified),
            by(Kind::Pending),
            self.repeats
        )
    }
}

/// Judges a record.
///
/// # Errors
/// Every fault, sorted.
pub fn check(record: &Record) -> Result<Report, Vec<Fault>> {
    let mut judge = Judge { record, messages: HashMap::new(), owners: HashMap::new(), faults: BTreeSet::new() };
    judge.collect();
    let report = judge.report();
    judge.sightings();
    judge.losses();
    judge.order();
    if judge.faults.is_empty() { Ok(report) } else { Err(judge.faults.into_iter().collect()) }
}

/// Sender, chat and content: what a sighting tells about where it comes from.
type Origin<'a> = (&'a str, &'a str, &'a str);

#[derive(Debug, Default)]
struct Message<'a> {
    id: Option<&'a str>,
    attempts: usize,
    acknowledged: bool,
    /// Whether some attempt may have got through: `sent`, or no answer.
    possible: bool,
}

struct Judge<'a> {
    record: &'a Record,
    messages: HashMap<Origin<'a>, Message<'a>>,
    /// What each message id stands for.
    owners: HashMap<&'a str, Origin<'a>>,
    faults: BTreeSet<Fault>,
}

impl<'a> Judge<'a> {
    fn collect(&mut self) {
        for attempt in &self.record.attempts {
            let origin = (attempt.sender.as_str(), attempt.chat.as_str(), attempt.content.as_str());
            let message = self.messages.entry(origin).or_default();
            message.attempts += 1;
            message.possible |= attempt.outcome != Outcome::Refused;
            if let Outcome::Sent(id) = &attempt.outcome {
                message.acknowledged = true;
                self.identify(origin, id);
            }
        }
    }

    /// Notes that `origin` has `id`, and that nothing else has, and that it has no other.
    fn identify(&mut self, origin: Origin<'a>, id: &'a str) {
        let first = *self.messages.entry(origin).or_default().id.get_or_insert(id);
        if first != id {
            self.faults.insert(Fault::TwoIds { content: origin.2.into(), first: first.into(), second: id.into() });
        }
        let owner = *self.owners.entry(id).or_insert(origin);
        if owner != origin {
            let (first, second) = (owner.2.into(), origin.2.into());
            self.faults.insert(Fault::SharedId { message_id: id.into(), first, second });
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::default();
        for message in self.messages.values() {
            report.resent += message.attempts - 1;
            match (message.acknowledged, message.possible) {
                (true, _) => report.sent += 1,
                (false, true) => report.unknown += 1,
                (false, false) => report.refused += 1,
            }
        }
        let mut known = HashSet::new();
        for connection in &self.record.connections {
            for seen in &connection.seen {
                *report.deliveries.entry(seen.kind).or_default() += 1;
                report.repeats += usize::from(!known.insert((&connection.user, &connection.device, &seen.message_id)));
            }
        }
        report
    }

    /// Each sighting by itself: is it of something that was sent, by who is said to have, to one who may see it?
    fn sightings(&mut self) {
        for connection in &self.record.connections {
            for seen in &connection.seen {
                let (message_id, user) = (seen.message_id.clone(), connection.user.clone());
                let member = self.record.members.get(&seen.chat).is_some_and(|members| members.contains(&user));
                // One's own message is seen on one's other devices in the room, and never as a notification.
                if !member || (seen.sender == user && seen.kind != Kind::Received) {
                    self.faults.insert(Fault::Stranger {
                        message_id: message_id.clone(),
                        user: user.clone(),
                        kind: seen.kind,
                    });
                }
                let origin = (seen.sender.as_str(), seen.chat.as_str(), seen.content.as_str());
                let content = seen.content.clone();
                match self.messages.get(&origin) {
                    None => _ = self.faults.insert(Fault::Phantom { message_id, content, user }),
                    Some(message) if !message.possible => {
                        self.faults.insert(Fault::RefusedDelivered { message_id, content, user });
                    }
                    Some(_) => self.identify(origin, &seen.message_id),
                }
            }
        }
    }

    fn losses(&mut self) {
        let mut reached: HashMap<&str, HashSet<&str>> = HashMap::new();
        for connection in &self.record.connections {
            for seen in &connection.seen {
                reached.entry(&seen.message_id).or_default().insert(&connection.user);
            }
        }
        for ((sender, chat, _), message) in &self.messages {
            let (true, Some(id)) = (message.acknowledged, message.id) else { continue };
            for member in self.record.members.get(*chat).into_iter().flatten().filter(|member| member != sender) {
                if !reached.get(id).is_some_and(|users| users.contains(member.as_str())) {
                    self.faults.insert(Fault::Lost { message_id: id.into(), member: member.clone() });
                }
            }
        }
    }

    fn seen_on(&self) -> SeenOn<'a> {
        let mut seen_on = SeenOn::default();
        for connection in &self.record.connections {
            for seen in &connection.seen {
                seen_on.0.entry((&connection.user, &seen.message_id)).or_default().insert(&connection.device);
            }
        }
        seen_on
    }

    /// Per device, what it has not seen before comes in the chat's order: on each topic of one connection, and on the
    /// notification topic, both spellings, over all connections. A repeat is known by its id and may come at any time.
    fn order(&mut self) {
        let seen_on = self.seen_on();
        let mut devices: HashMap<(&str, &str), Device> = HashMap::new();
        for connection in &self.record.connections {
            let device = devices.entry((&connection.user, &connection.device)).or_default();
            let mut on_this = Newest::default();
            let first = connection.seen.iter().filter(|seen| device.known.insert(&seen.message_id));
            let may_be_late = |seen: &Seen| self.record.pending_may_be_late && seen.kind == Kind::Pending;
            for seen in first.filter(|seen| !may_be_late(seen) && !seen_on.had_elsewhere(connection, seen)) {
                self.faults.extend(on_this.arrived(&seen.topic, seen, connection));
                if seen.kind != Kind::Received {
                    self.faults.extend(device.notified.arrived("notifications", seen, connection));
                }
            }
        }
    }
}

/// On which devices of a user each message was seen.
#[derive(Default)]
struct SeenOn<'a>(HashMap<(&'a str, &'a str), HashSet<&'a str>>);

impl SeenOn<'_> {
    /// Whether it is a pending notification of what another device of the user has had.
    fn had_elsewhere(&self, connection: &Connection, seen: &Seen) -> bool {
        let on = self.0.get(&(connection.user.as_str(), seen.message_id.as_str()));
        seen.kind == Kind::Pending && on.is_some_and(|on| on.iter().any(|device| *device != connection.device))
    }
}

/// What one device has seen so far, over its connections.
#[derive(Default)]
struct Device<'a> {
    known: HashSet<&'a str>,
    notified: Newest<'a>,
}

/// The newest message by topic and chat.
#[derive(Default)]
struct Newest<'a>(HashMap<(&'a str, &'a str), &'a str>);

impl<'a> Newest<'a> {
    fn arrived(&mut self, topic: &'a str, seen: &'a Seen, connection: &Connection) -> Option<Fault> {
        let newest = self.0.entry((topic, &seen.chat)).or_default();
        if seen.message_id.as_str() > *newest {
            *newest = &seen.message_id;
            return None;
        }
        Some(Fault::Reordered {
            message_id: seen.message_id.clone(),
            after: (*newest).to_owned(),
            user: connection.user.clone(),
            device: connection.device.clone(),
            topic: topic.to_owned(),
        })
    }
}
