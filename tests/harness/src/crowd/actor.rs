//! One device of one user, with habits: it comes, joins, sends, wanders between rooms, and goes or is cut off.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::Crowd;
use crate::checker::{Attempt, Outcome};
use crate::{Client, Connect};

/// The connection is gone.
struct Gone;

impl From<Option<u16>> for Gone {
    fn from(_: Option<u16>) -> Self {
        Gone
    }
}

/// The reason that says nothing of what has happened: the storage did not answer. Whoever gets it tries again later.
const UNAVAILABLE: &str = "unavailable";

/// How a device behaves.
#[derive(Debug, Clone, Copy)]
struct Habit {
    /// How likely it joins its notification topic on a visit.
    notifications: f64,
    /// How likely it joins each of its chats on a visit.
    rooms: f64,
    /// How likely a step changes rooms instead of sending.
    wanders: f64,
    /// Steps in a visit, about.
    stays: u32,
    /// Milliseconds between visits, at most.
    away: u64,
}

const RESIDENT: Habit = Habit { notifications: 1.0, rooms: 0.9, wanders: 0.02, stays: 400, away: 40 };
const LISTENER: Habit = Habit { notifications: 1.0, rooms: 0.0, wanders: 0.0, stays: 100, away: 300 };
const ROOMER: Habit = Habit { notifications: 0.0, rooms: 0.6, wanders: 0.1, stays: 60, away: 200 };
const WANDERER: Habit = Habit { notifications: 0.7, rooms: 0.4, wanders: 0.4, stays: 40, away: 200 };
const VISITOR: Habit = Habit { notifications: 0.6, rooms: 0.3, wanders: 0.2, stays: 6, away: 900 };
const HABITS: [Habit; 5] = [RESIDENT, LISTENER, ROOMER, WANDERER, VISITOR];

/// A message that may have to be sent again.
#[derive(Debug, Clone)]
struct Draft {
    chat: String,
    reference: String,
    content: String,
}

/// One device of one user.
#[derive(Debug)]
pub struct Actor {
    crowd: Arc<Crowd>,
    user: String,
    device: String,
    token: String,
    rng: StdRng,
    habit: Habit,
    drafted: u32,
    unanswered: Vec<Draft>,
}

impl Actor {
    /// Every user once, every second one with another device, each with a token that `token` makes.
    pub fn all(crowd: &Arc<Crowd>, seed: u64, token: impl Fn(&str, &str) -> String) -> Vec<Actor> {
        let second = crowd.users.iter().step_by(2).map(|user| (user, "tablet"));
        let devices = crowd.users.iter().map(|user| (user, "phone")).chain(second);
        devices
            .enumerate()
            .map(|(number, (user, device))| Actor {
                crowd: Arc::clone(crowd),
                user: user.clone(),
                device: device.to_owned(),
                token: token(user, device),
                rng: StdRng::seed_from_u64(seed.wrapping_mul(1000) + number as u64),
                habit: HABITS[number % HABITS.len()],
                drafted: 0,
                unanswered: Vec::new(),
            })
            .collect()
    }

    /// Lives until the world stops, then has every open question answered, and returns a last connection on the
    /// notification topic that stays open.
    ///
    /// # Panics
    /// When it is refused what is its right, or given what is not.
    pub async fn live(mut self) -> Client {
        while !self.crowd.is_stopping() {
            let mut client = self.connect().await;
            // Either way the visit is over: it was long enough, or the server was killed.
            let ended = self.visit(&mut client).await;
            let frames = match ended {
                Ok(()) if self.rng.random_bool(0.3) => client.close().await,
                _ => client.cut().await,
            };
            self.crowd.connection_ended(&self.user, &self.device, &frames);
            let away = self.rng.random_range(0..=self.habit.away);
            tokio::time::sleep(Duration::from_millis(away)).await;
        }
        while !self.unanswered.is_empty() {
            let mut client = self.connect().await;
            let _gone = self.send_again(&mut client).await;
            let frames = client.cut().await;
            self.crowd.connection_ended(&self.user, &self.device, &frames);
        }
        let mut client = self.connect().await;
        client.join(&format!("notifications:{}", self.user)).await;
        client
    }

    /// Tries until the server is there again.
    async fn connect(&mut self) -> Client {
        loop {
            let address = self.crowd.address(&mut self.rng);
            match Connect::new(address, &self.user, &self.device, &self.token).open().await {
                Ok(client) => return client,
                Err(refused) => assert_ne!(refused.status, 403, "a good token is never refused: {}", refused.body),
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    async fn visit(&mut self, client: &mut Client) -> Result<(), Gone> {
        if self.rng.random_bool(self.habit.notifications) {
            self.join(client, &format!("notifications:{}", self.user)).await?;
        }
        if self.rng.random_bool(0.8) {
            self.send_again(client).await?;
        }
        let mut rooms = Vec::new();
        for chat in self.crowd.chats_of(&self.user) {
            if self.rng.random_bool(self.habit.rooms) {
                self.join(client, &format!("chat:{chat}")).await?;
                rooms.push(chat);
            }
        }
        if self.rng.random_bool(0.1) {
            self.knock_at_a_strangers_door(client).await?;
        }
        for _ in 0..self.rng.random_range(1..=self.habit.stays * 2) {
            if self.crowd.is_stopping() || client.is_closed() {
                break;
            }
            self.step(client, &mut rooms).await?;
            let pause = self.rng.random_range(2..60);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(())
    }

    async fn step(&mut self, client: &mut Client, rooms: &mut Vec<String>) -> Result<(), Gone> {
        if self.rng.random_bool(self.habit.wanders) {
            return self.wander(client, rooms).await;
        }
        let Some(chat) = rooms.choose(&mut self.rng).cloned() else {
            return Ok(client.heartbeat().await?);
        };
        if self.rng.random_bool(0.1) {
            client.push(&format!("chat:{chat}"), "typing", json!({"is_typing": true})).await;
        }
        let burst = (0..self.rng.random_range(1..=4)).map(|_| self.draft(&chat)).collect();
        self.send(client, burst).await
    }

    async fn wander(&mut self, client: &mut Client, rooms: &mut Vec<String>) -> Result<(), Gone> {
        if !rooms.is_empty() && self.rng.random_bool(0.6) {
            let chat = rooms.swap_remove(self.rng.random_range(0..rooms.len()));
            client.leave(&format!("chat:{chat}")).await?;
        }
        let others: Vec<_> = self.crowd.chats_of(&self.user).into_iter().filter(|chat| !rooms.contains(chat)).collect();
        if let Some(chat) = others.choose(&mut self.rng) {
            self.join(client, &format!("chat:{chat}")).await?;
            rooms.push(chat.clone());
        }
        Ok(())
    }

    async fn join(&self, client: &mut Client, topic: &str) -> Result<(), Gone> {
        let reply = client.try_join(topic).await?;
        if reply["response"]["reason"] == UNAVAILABLE {
            return Err(Gone);
        }
        assert_eq!(reply["status"], "ok", "{} joins {topic}: {reply}", self.user);
        Ok(())
    }

    async fn knock_at_a_strangers_door(&mut self, client: &mut Client) -> Result<(), Gone> {
        let mut others = self.crowd.members.iter().filter(|(_, members)| !members.contains(&self.user));
        let Some((chat, _)) = others.next() else { return Ok(()) };
        let reply = client.try_join(&format!("chat:{chat}")).await?;
        let reason = &reply["response"]["reason"];
        assert!(reason == "unauthorized" || reason == UNAVAILABLE, "{} is no member of {chat}: {reply}", self.user);
        Ok(())
    }

    fn draft(&mut self, chat: &str) -> Draft {
        self.drafted += 1;
        let name = format!("{}/{} #{}", self.user, self.device, self.drafted);
        let padding = "é".repeat(self.rng.random_range(0..120));
        Draft { chat: chat.to_owned(), reference: name.clone(), content: format!("{name} {padding}") }
    }

    /// Sends what has no answer yet, with the references it had.
    async fn send_again(&mut self, client: &mut Client) -> Result<(), Gone> {
        let mut drafts = std::mem::take(&mut self.unanswered);
        drafts.sort_by(|a, b| a.chat.cmp(&b.chat));
        for of_one_chat in drafts.chunk_by(|a, b| a.chat == b.chat) {
            let sent = match self.join(client, &format!("chat:{}", of_one_chat[0].chat)).await {
                Ok(()) => self.send(client, of_one_chat.to_vec()).await,
                Err(Gone) => {
                    self.unanswered.extend_from_slice(of_one_chat);
                    Err(Gone)
                }
            };
            let topic = format!("chat:{}", of_one_chat[0].chat);
            if sent.is_err() || client.leave(&topic).await.is_err() {
                // The rest of the drafts was never tried on this connection.
                let tried = of_one_chat[0].chat.clone();
                self.unanswered.extend(drafts.iter().filter(|draft| draft.chat > tried).cloned());
                return Err(Gone);
            }
        }
        Ok(())
    }

    /// Sends messages of one chat in a row, then waits for all answers.
    async fn send(&mut self, client: &mut Client, drafts: Vec<Draft>) -> Result<(), Gone> {
        let topic = |draft: &Draft| format!("chat:{}", draft.chat);
        for draft in &drafts {
            let payload = json!({"content": draft.content, "mobile_ref_id": draft.reference});
            client.push(&topic(draft), "send_message", payload).await;
        }
        let mut result = Ok(());
        for draft in drafts {
            let answer = client.message_sent(&topic(&draft), &draft.reference).await;
            let outcome = match &answer {
                Ok(sent) if sent["status"] == "sent" => {
                    Outcome::Sent(sent["message_id"].as_str().expect("it has an id").to_owned())
                }
                Ok(answer) if answer["reason"] != UNAVAILABLE => Outcome::Refused,
                Ok(_) | Err(_) => Outcome::Unknown,
            };
            let is_open = outcome == Outcome::Unknown;
            self.crowd.attempted(Attempt {
                sender: self.user.clone(),
                chat: draft.chat.clone(),
                reference: draft.reference.clone(),
                content: draft.content.clone(),
                outcome,
            });
            if is_open {
                self.unanswered.push(draft);
            }
            if answer.is_err() {
                result = Err(Gone);
            }
        }
        result
    }
}
