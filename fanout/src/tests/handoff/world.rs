//! Gateways, fanouts and reapers on one store, what happens to them, and what must be true after every step.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use proptest::test_runner::TestCaseError;
use roost_storage::*;

use super::answers::Answers;
use super::gateway::Gateway;
use super::op::Op;
use super::turns::{Process, Turns};
use crate::context::Context;
use crate::reaper::reap;
use crate::tests::hooked::hooked;
use crate::tests::rig::*;
use crate::{FanoutConfig, FanoutMetrics, ReapReport};

/// What was promised, and what clients have confirmed.
#[derive(Default)]
pub(super) struct Ledger {
    members: BTreeMap<ChatId, BTreeSet<UserId>>,
    accepted: Vec<(Message, BTreeSet<UserId>)>,
    pub(super) confirmed: HashSet<(UserId, MessageId)>,
}

struct Task {
    name: String,
    /// Which gateway's; none for fanouts and reapers.
    gateway: Option<GatewayId>,
    process: Process,
}

pub(super) struct World {
    rig: Rig,
    answers: Answers,
    turns: Arc<Turns>,
    /// What processes use: each call waits for its turn.
    storage: Storage,
    ledger: Rc<RefCell<Ledger>>,
    tasks: Vec<Task>,
    gateways: Vec<Rc<Gateway>>,
    /// Every gateway there ever was.
    known: Vec<GatewayId>,
    count: u32,
    trace: Vec<String>,
}

type Checked = Result<(), TestCaseError>;

impl World {
    pub(super) async fn new(rig: Rig, answers: Answers) -> Self {
        let turns = Arc::new(Turns::default());
        let storage = hooked(&rig.storage, turns.clone());
        let mut world = Self {
            storage,
            turns,
            rig,
            answers,
            ledger: Rc::default(),
            tasks: Vec::new(),
            gateways: Vec::new(),
            known: Vec::new(),
            count: 0,
            trace: Vec::new(),
        };
        for number in 0..2 {
            let gateway = world.new_gateway().await;
            world.gateways.push(gateway);
            for user in 0..3 {
                world.change(number, user, true).await;
            }
        }
        world.rig.process("first").await;
        world
    }

    fn numbered(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}-{}", self.count)
    }

    async fn new_gateway(&mut self) -> Rc<Gateway> {
        let name = self.numbered("gateway");
        let id = self.rig.gateway(&name).await;
        self.known.push(id.clone());
        Gateway::new(id, self.storage.clone(), self.ledger.clone())
    }

    fn context(&mut self, what: &str) -> Arc<Context> {
        let name = self.numbered(what);
        // No claim lasts: reapers, too, overtake one another.
        let config = FanoutConfig { lease_ttl: Duration::ZERO, batch_max: 4, ..quick() };
        Arc::new(Context::new(self.storage.clone(), config, Arc::new(FanoutMetrics::default()), worker(&name)))
    }

    fn spawn(&mut self, name: String, gateway: Option<&GatewayId>, process: impl Future<Output = ()> + 'static) {
        self.tasks.push(Task { name, gateway: gateway.cloned(), process: Box::pin(process) });
    }

    fn of_gateway<F: Future<Output = ()> + 'static>(
        &mut self,
        number: usize,
        what: &str,
        process: impl FnOnce(Rc<Gateway>) -> F,
    ) {
        let gateway = self.gateways[number].clone();
        self.spawn(format!("{} {what}", gateway.id), Some(&gateway.id), process(gateway.clone()));
    }

    /// Does `op` and checks what must be true.
    pub(super) async fn act(&mut self, op: Op) -> Checked {
        match op {
            Op::Step(_) | Op::CrashWithinStep { .. } if self.tasks.is_empty() => return Ok(()),
            Op::Step(which) => return self.step(usize::from(which) % self.tasks.len()).await,
            Op::Send { chat, sender } => self.send(chat, sender).await,
            Op::Change { chat, user, add } => self.change(chat, user, add).await,
            Op::Connect { gateway, user, joins } => {
                let user = user_named(user);
                self.of_gateway(gateway.into(), &format!("connects {user}"), |it| it.connect(user, joins));
            }
            Op::Disconnect(which) => {
                if let Some((gateway, number)) = self.connection(which) {
                    self.of_gateway(gateway, &format!("loses {number}"), |it| it.disconnect(number));
                }
            }
            Op::Confirm(which) => {
                if let Some((gateway, number)) = self.connection(which) {
                    self.of_gateway(gateway, &format!("confirms {number}"), |it| it.confirm(number));
                }
            }
            Op::ReadMailbox(gateway) => self.of_gateway(gateway.into(), "reads its mailbox", Gateway::read_mailbox),
            Op::CrashGateway(gateway) => self.crash_gateway(gateway.into()).await,
            Op::LeaseRunsOut(gateway) => {
                let id = self.gateways[usize::from(gateway)].id.clone();
                // Lost when a reaper has claimed it already.
                let _ = self.rig.storage.sessions.renew_gateway(&id, Duration::ZERO).await.unwrap();
                self.trace.push(format!("the lease of {id} runs out"));
            }
            Op::Reap(which) => self.reap(Some(which)).await,
            Op::StartFanout => self.start_fanout(),
            Op::CrashWithinStep { which, polls } => {
                self.crash_within_step(usize::from(which) % self.tasks.len(), polls).await;
            }
            Op::CrashFanoutOrReaper(which) => {
                let tasks: Vec<_> = (0..self.tasks.len()).filter(|at| self.tasks[*at].gateway.is_none()).collect();
                if !tasks.is_empty() {
                    let task = self.tasks.remove(tasks[usize::from(which) % tasks.len()]);
                    self.trace.push(format!("{} crashes", task.name));
                }
            }
        }
        self.check().await
    }

    async fn crash_within_step(&mut self, at: usize, polls: u32) {
        let mut task = self.tasks.remove(at);
        let step = self.turns.step_at_most(&mut task.process, polls).await;
        self.trace.push(format!("{} crashes within {}", task.name, step.call.unwrap_or("-")));
        drop(task.process);
        // All of a gateway goes, not one of its tasks.
        let number = self.gateways.iter().position(|gateway| task.gateway.as_ref() == Some(&gateway.id));
        if let Some(number) = number {
            self.crash_gateway(number).await;
        }
    }

    async fn step(&mut self, at: usize) -> Checked {
        let task = &mut self.tasks[at];
        let step = self.turns.step(&mut task.process).await;
        self.trace.push(format!("{}: {}", task.name, step.call.unwrap_or("-")));
        if step.ended {
            drop(self.tasks.remove(at));
        }
        for number in 0..self.gateways.len() {
            if self.gateways[number].is_lost() {
                self.crash_gateway(number).await;
            }
        }
        self.check().await
    }

    async fn append(&mut self, chat: &ChatId, body: EventBody) -> Sequence {
        let event = NewEvent { chat: chat.clone(), body, dedupe: None };
        let appended = self.rig.storage.log.append(vec![event]).await;
        appended.into_iter().next().unwrap().unwrap().sequence
    }

    async fn send(&mut self, chat: u8, sender: u8) {
        let (chat, sender) = (chat_named(chat), user_named(sender));
        let content: Arc<str> = self.numbered("message").into();
        let body = EventBody::Message { sender: sender.clone(), content: content.clone(), origin: None };
        let sequence = self.append(&chat, body).await;
        let mut ledger = self.ledger.borrow_mut();
        let mut recipients = ledger.members.get(&chat).cloned().unwrap_or_default();
        recipients.remove(&sender);
        self.trace.push(format!("{sender} sends {content} in {chat} to {recipients:?}"));
        ledger.accepted.push((Message { chat, sequence, sender, content }, recipients));
    }

    async fn change(&mut self, chat: u8, user: u8, add: bool) {
        let (chat, user) = (chat_named(chat), user_named(user));
        let change = if add { Change::Add(user.clone()) } else { Change::Remove(user.clone()) };
        self.trace.push(format!("{change:?} in {chat}"));
        self.append(&chat, EventBody::Members(change)).await;
        let mut ledger = self.ledger.borrow_mut();
        let members = ledger.members.entry(chat).or_default();
        if add {
            members.insert(user)
        } else {
            members.remove(&user)
        };
    }

    fn connection(&self, which: u16) -> Option<(usize, u64)> {
        let of =
            |(at, gateway): (usize, &Rc<Gateway>)| gateway.connections().into_iter().map(move |it| (at, it)).collect();
        let all: Vec<(usize, u64)> = self.gateways.iter().enumerate().flat_map::<Vec<_>, _>(of).collect();
        (!all.is_empty()).then(|| all[usize::from(which) % all.len()])
    }

    /// Everything in its memory is gone; a new one takes its place.
    async fn crash_gateway(&mut self, number: usize) {
        let new = self.new_gateway().await;
        let old = std::mem::replace(&mut self.gateways[number], new);
        self.tasks.retain(|task| task.gateway.as_ref() != Some(&old.id));
        let _ = self.rig.storage.sessions.renew_gateway(&old.id, Duration::ZERO).await.unwrap();
        self.trace.push(format!("{} crashes", old.id));
    }

    async fn reap(&mut self, which: Option<u16>) {
        let mut dead = self.rig.storage.sessions.dead_gateways().await.unwrap();
        dead.sort();
        if !dead.is_empty() {
            let (gateway, context) =
                (dead[which.map_or(0, |which| usize::from(which) % dead.len())].clone(), self.context("reaper"));
            self.spawn(format!("{} reaps {gateway}", context.worker), None, async move {
                reap(&context, &gateway, &mut ReapReport::default()).await.unwrap();
            });
        }
    }

    fn start_fanout(&mut self) {
        let context = self.context("fanout");
        self.spawn(context.worker.to_string(), None, async move {
            // A lost lease ends it.
            let _ = process_partition(&context, PartitionId(0), Duration::ZERO).await;
        });
    }

    /// Lets everything come to rest, with everyone connected and confirming, and checks that nothing is left anywhere.
    pub(super) async fn finish(&mut self) -> Checked {
        self.run_all().await?;
        // A gateway whose lease has run out learns it, and closes its sockets.
        let dead = self.rig.storage.sessions.dead_gateways().await.unwrap();
        for number in 0..self.gateways.len() {
            let id = self.gateways[number].id.clone();
            let renewed = self.rig.storage.sessions.renew_gateway(&id, LONG).await.unwrap();
            if dead.contains(&id) || renewed == Renewal::Lost {
                self.crash_gateway(number).await;
            }
        }
        for round in 0.. {
            let left = self.left().await;
            if left.is_empty() {
                break;
            }
            self.ensure(round < 20, || format!("it never comes to rest: {}", left.join(", ")))?;
            // Only those who are not: who is connected must have been told of every row, by reading or by a ring. But for
            // what they have had already: a worker that crashed before it rang leaves the row, and the next one delivers.
            for user in 0..3 {
                let is_connected = self.gateways.iter().any(|gateway| gateway.notifies(&user_named(user)));
                if !is_connected || self.has_only_repeats_pending(&user_named(user)).await {
                    self.act(Op::Connect { gateway: 0, user, joins: 1 }).await?;
                }
            }
            self.run_all().await?;
            self.start_fanout();
            self.reap(None).await;
            self.run_all().await?;
            for gateway in 0..2 {
                self.act(Op::ReadMailbox(gateway)).await?;
            }
            self.run_all().await?;
            for gateway in 0..2 {
                for number in self.gateways[gateway].connections() {
                    self.of_gateway(gateway, "confirms", |it| it.confirm(number));
                }
            }
            self.run_all().await?;
        }
        let ledger = self.ledger.borrow();
        for (message, recipients) in &ledger.accepted {
            for user in recipients {
                let confirmed = ledger.confirmed.contains(&(user.clone(), message.id()));
                self.ensure(confirmed, || format!("{} never reached {user}", message.content))?;
            }
        }
        Ok(())
    }

    async fn run_all(&mut self) -> Checked {
        while !self.tasks.is_empty() {
            self.step(0).await?;
        }
        Ok(())
    }

    async fn left(&self) -> Vec<String> {
        let storage = &self.rig.storage;
        let mut left = Vec::new();
        let lag = storage.log.lag(PartitionId(0)).await.unwrap();
        if lag > 0 {
            left.push(format!("{lag} events in the log"));
        }
        left.extend(storage.sessions.dead_gateways().await.unwrap().into_iter().map(|it| format!("{it} is dead")));
        for gateway in &self.known {
            let entries = self.mailbox(gateway).await;
            left.extend(entries.into_iter().map(|entry| format!("{:?} for {gateway}", shown(&entry.item))));
        }
        for user in (0..3).map(user_named) {
            let page = storage.pending.page(&user, None, 1000).await.unwrap();
            left.extend(page.messages.iter().map(|message| format!("{} is pending for {user}", message.content)));
        }
        left
    }

    async fn has_only_repeats_pending(&self, user: &UserId) -> bool {
        let rows = self.rig.storage.pending.page(user, None, 1000).await.unwrap().messages;
        let confirmed = &self.ledger.borrow().confirmed;
        !rows.is_empty() && rows.iter().all(|row| confirmed.contains(&(user.clone(), row.id())))
    }

    async fn mailbox(&self, gateway: &GatewayId) -> Vec<MailboxEntry> {
        let mailboxes = &self.rig.storage.mailboxes;
        let confirmed = mailboxes.confirmed(gateway).await.unwrap();
        self.answers.of(|wait| mailboxes.read(gateway, confirmed, 1000, wait)).await
    }

    /// Each accepted message is somewhere for each member at its place, and for nobody else anywhere.
    async fn check(&self) -> Checked {
        let storage = &self.rig.storage;
        // A log keeps nothing at or below the cursor.
        let log = self.answers.of(|wait| storage.log.read(PartitionId(0), Position::START, 1000, wait)).await;
        let in_log: HashSet<MessageId> =
            log.iter().filter_map(|entry| entry.event.message()).map(|(message, _)| message.id()).collect();
        let mut held: HashSet<(UserId, MessageId)> = HashSet::new();
        for gateway in &self.known {
            for entry in self.mailbox(gateway).await {
                if let MailboxItem::Deliver(delivery) = entry.item {
                    let id = delivery.message.id();
                    held.extend(delivery.recipients.into_iter().map(|user| (user, id)));
                }
            }
        }
        for user in (0..3).map(user_named) {
            if storage.pending.count(&user).await.unwrap() == 0 {
                continue;
            }
            let page = storage.pending.page(&user, None, 1000).await.unwrap();
            held.extend(page.messages.iter().map(|message| (user.clone(), message.id())));
        }
        let ledger = self.ledger.borrow();
        held.extend(ledger.confirmed.iter().cloned());
        for (message, recipients) in &ledger.accepted {
            for user in (0..3).map(user_named) {
                let is_held = held.contains(&(user.clone(), message.id()));
                if recipients.contains(&user) {
                    let holds = is_held || in_log.contains(&message.id());
                    self.ensure(holds, || format!("{} is nowhere for {user}", message.content))?;
                } else {
                    self.ensure(!is_held, || format!("{} is held for {user}, who is not to get it", message.content))?;
                }
            }
        }
        Ok(())
    }

    fn ensure(&self, holds: bool, problem: impl FnOnce() -> String) -> Checked {
        if holds {
            return Ok(());
        }
        Err(TestCaseError::fail(format!("{}, after:\n  {}", problem(), self.trace.join("\n  "))))
    }
}

fn user_named(number: u8) -> UserId {
    user(&format!("user-{number}"))
}

fn chat_named(number: u8) -> ChatId {
    chat(&format!("chat-{number}"))
}
