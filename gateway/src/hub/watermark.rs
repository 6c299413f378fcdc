//! The confirmation watermark: one Ping behind a flush carries a counter, and the Pong that echoes it confirms all that
//! was written before it (RFC 6455 5.5.3: a Pong may answer only the most recent Ping, so it is cumulative).

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// What was written and is not confirmed, oldest first.
pub(super) struct Watermark<T> {
    /// Each with the counter of the Ping that covers it.
    written: VecDeque<(u64, T)>,
    counter: u64,
    pinged: Option<Instant>,
}

impl<T> Default for Watermark<T> {
    fn default() -> Self {
        Self { written: VecDeque::new(), counter: 0, pinged: None }
    }
}

impl<T> Watermark<T> {
    /// Something was written that has to be confirmed.
    pub(super) fn wrote(&mut self, token: T) {
        self.written.push_back((self.counter + 1, token));
    }

    /// The payload of the Ping to write now; none while one is outstanding or nothing is unconfirmed.
    pub(super) fn ping(&mut self, now: Instant) -> Option<Bytes> {
        if self.pinged.is_some() || self.written.is_empty() {
            return None;
        }
        self.counter += 1;
        self.pinged = Some(now);
        Some(Bytes::copy_from_slice(&self.counter.to_be_bytes()))
    }

    /// Takes a Pong: what it confirms. A Pong that answers no Ping of ours confirms nothing.
    pub(super) fn pong(&mut self, payload: &[u8]) -> Vec<T> {
        let Ok(counter) = <[u8; 8]>::try_from(payload).map(u64::from_be_bytes) else { return Vec::new() };
        if counter > self.counter {
            return Vec::new();
        }
        if counter == self.counter {
            self.pinged = None;
        }
        let covered = self.written.iter().take_while(|(covered_by, _)| *covered_by <= counter).count();
        let confirmed = self.written.drain(..covered).map(|(_, token)| token).collect();
        if self.written.is_empty() {
            self.written = VecDeque::new();
        }
        confirmed
    }

    /// When the outstanding Ping was written.
    pub(super) fn pinged(&self) -> Option<Instant> {
        self.pinged
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// Everything unconfirmed, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.written.iter().map(|(_, token)| token)
    }

    /// Takes out what `which` picks; a Pong does not confirm it any more.
    pub(super) fn withdraw(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (covered_by, token) in std::mem::take(&mut self.written) {
            if which(&token) {
                taken.push(token);
            } else {
                self.written.push_back((covered_by, token));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_confirms_exactly_what_was_written_before_its_ping() {
        let mut watermark = Watermark::default();
        let now = Instant::now();
        assert_eq!(watermark.ping(now), None);
        watermark.wrote('a');
        watermark.wrote('b');
        let first = watermark.ping(now).unwrap();
        watermark.wrote('c');
        assert_eq!(watermark.ping(now), None, "one outstanding Ping at most");
        assert_eq!(watermark.pong(&first), ['a', 'b']);
        assert!(watermark.pong(&first).is_empty(), "a repeated Pong confirms nothing new");
        let second = watermark.ping(now).unwrap();
        assert_eq!(watermark.pong(&second), ['c']);
        assert!(watermark.is_empty() && watermark.pinged().is_none());
    }

    #[test]
    fn what_was_withdrawn_is_not_confirmed() {
        let mut watermark = Watermark::default();
        watermark.wrote('a');
        watermark.wrote('b');
        let ping = watermark.ping(Instant::now()).unwrap();
        assert_eq!(watermark.withdraw(|token| *token == 'a'), ['a']);
        assert_eq!(watermark.pong(&ping), ['b']);
    }

    #[test]
    fn a_pong_that_nobody_asked_for_confirms_nothing() {
        let mut watermark = Watermark::default();
        watermark.wrote('a');
        assert!(watermark.pong(b"").is_empty());
        assert!(watermark.pong(&1_u64.to_be_bytes()).is_empty(), "its Ping was not written yet");
        assert!(watermark.pong(&u64::MAX.to_be_bytes()).is_empty());
        assert_eq!(watermark.iter().collect::<String>(), "a");
    }
}
