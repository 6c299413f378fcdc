//! How far one user has got in one room's history, as this gateway knows it: what was pushed live, what is missing, and
//! what may be stored as the user's cursor.

use std::collections::VecDeque;

use roost_storage::{Cursor, Gap, Sequence};

/// One user's progress in one room.
#[derive(Debug)]
pub(crate) struct Progress {
    /// Everything through here is confirmed, but for what is missing and what is live. Without meaning while the end of
    /// what is missing is open.
    through: Sequence,
    missing: Option<Missing>,
    /// Pushed live and not confirmed up to here; the first is not settled.
    live: VecDeque<Live>,
    /// How often some message may not have come: what was read from history before the last time says nothing about it.
    rings: u64,
    is_loaded: bool,
    is_dirty: bool,
}

/// What has to be read from history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) after: Sequence,
    /// None: through whatever there is.
    pub(crate) through: Option<Sequence>,
    /// The last message that was not pushed because it is read from history, with an open end.
    skipped: Sequence,
    /// Whoever reads has come to the end of history, which was here: later live messages are pushed behind what was read.
    end: Option<Sequence>,
}

#[derive(Debug)]
struct Live {
    sequence: Sequence,
    is_settled: bool,
}

impl Missing {
    fn open(after: Sequence) -> Self {
        Self { after, through: None, skipped: Sequence(0), end: None }
    }

    fn closed(after: Sequence, through: Sequence) -> Self {
        Self { through: Some(through), ..Self::open(after) }
    }
}

fn before(sequence: Sequence) -> Sequence {
    Sequence(sequence.0.saturating_sub(1))
}

impl Progress {
    /// Nothing is known yet: everything in history may be missing.
    pub(crate) fn new() -> Self {
        Self {
            through: Sequence(0),
            missing: Some(Missing::open(Sequence(0))),
            live: VecDeque::new(),
            rings: 0,
            is_loaded: false,
            is_dirty: false,
        }
    }

    /// To be told to [`Progress::finish`] by whoever reads history from now on.
    pub(crate) fn rings(&self) -> u64 {
        self.rings
    }

    /// What has to be read from history, if anything.
    pub(crate) fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// Whether a stored cursor was taken into account.
    pub(crate) fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// The last message that was pushed, or is known to be dealt with.
    fn last(&self) -> Sequence {
        let live = self.live.back().map_or(Sequence(0), |live| live.sequence);
        let missing = self.missing.map_or(Sequence(0), |missing| missing.after);
        match self.missing {
            Some(Missing { through: None, .. }) => live.max(missing),
            _ => live.max(missing).max(self.through),
        }
    }

    /// A live message is about to be handled whose room had `previous` before it. When that has not come it is missing,
    /// with all since the last that has: returns true then.
    pub(crate) fn follows(&mut self, sequence: Sequence, previous: Option<Sequence>) -> bool {
        let last = self.last();
        let Some(previous) = previous.filter(|previous| *previous > last && sequence > last) else { return false };
        match &mut self.missing {
            // With an open end it is among what is read, to there at least.
            Some(missing) if missing.through.is_none() => {
                missing.skipped = missing.skipped.max(previous);
                return false;
            }
            Some(missing) => missing.through = Some(previous),
            None => self.missing = Some(Missing::closed(last, previous)),
        }
        self.through = self.through.max(previous);
        self.rings += 1;
        true
    }

    /// A live message has come. True when it is to be pushed: then [`Progress::settle`] or [`Progress::give_up`] follows.
    /// Otherwise it is known already, or is read from history.
    pub(crate) fn admit(&mut self, sequence: Sequence, is_in_room: bool) -> bool {
        if sequence <= self.last() {
            return false;
        }
        if let Some(missing) = self.missing.as_mut().filter(|missing| missing.through.is_none()) {
            if !is_in_room && missing.end.is_none_or(|end| sequence <= end) {
                missing.skipped = missing.skipped.max(sequence);
                return false;
            }
            self.end_missing(before(sequence));
        }
        self.live.push_back(Live { sequence, is_settled: false });
        true
    }

    /// The user's own message has come: nothing is owed for it.
    pub(crate) fn pass(&mut self, sequence: Sequence) {
        let is_open = self.missing.is_some_and(|missing| missing.through.is_none());
        if !is_open && sequence > self.last() {
            self.live.push_back(Live { sequence, is_settled: true });
            self.advance();
        }
    }

    /// A live message is not to be pushed here: it stays missing.
    pub(crate) fn skip(&mut self, sequence: Sequence) {
        let last = self.last();
        match &mut self.missing {
            Some(missing) if missing.through.is_none() => missing.skipped = missing.skipped.max(sequence),
            _ if sequence > last => {
                self.live.push_back(Live { sequence, is_settled: false });
                self.give_up(sequence);
            }
            _ => {}
        }
    }

    /// Some message may not have come: from the last one on, everything is read from history.
    pub(crate) fn miss_from_now(&mut self) {
        self.rings += 1;
        let after = self.missing.map_or(self.last(), |missing| missing.after);
        self.missing = Some(Missing::open(after));
    }

    /// A client has confirmed a live message.
    pub(crate) fn settle(&mut self, sequence: Sequence) {
        if let Ok(at) = self.live.binary_search_by_key(&sequence, |live| live.sequence) {
            self.live[at].is_settled = true;
            self.advance();
        }
    }

    /// Nobody answers for a live message any more: it is missing.
    pub(crate) fn give_up(&mut self, sequence: Sequence) {
        if self.live.binary_search_by_key(&sequence, |live| live.sequence).is_err() {
            return;
        }
        let after = before(sequence);
        self.missing = Some(match self.missing {
            None => Missing::closed(after, sequence),
            Some(missing) => Missing {
                after: missing.after.min(after),
                through: missing.through.map(|through| through.max(sequence)),
                ..missing
            },
        });
        self.settle(sequence);
    }

    fn advance(&mut self) {
        while self.live.front().is_some_and(|live| live.is_settled) {
            let live = self.live.pop_front().expect("there is a front");
            self.through = self.through.max(live.sequence);
            self.is_dirty = true;
        }
        if self.live.is_empty() {
            self.live = VecDeque::new();
        }
    }

    fn end_missing(&mut self, through: Sequence) {
        if let Some(missing) = &mut self.missing {
            missing.through = Some(through);
            self.through = self.through.max(through);
            if missing.after >= through {
                self.missing = None;
            }
        }
    }

    /// Takes a stored cursor into account, which another gateway may have written.
    pub(crate) fn load(&mut self, cursor: Option<Cursor>) {
        self.is_loaded = true;
        let (Some(cursor), Some(missing)) = (cursor, self.missing) else { return };
        let after = match cursor.gap {
            Some(gap) if missing.after < gap.after => gap.after,
            Some(gap) if missing.after < gap.through => missing.after,
            _ => missing.after.max(cursor.through),
        };
        self.read_through(missing.after, after);
    }

    /// A client has confirmed everything of history after `from`, through `sequence`. When more is missing by now, from
    /// before that on, it is read again.
    pub(crate) fn read_through(&mut self, from: Sequence, sequence: Sequence) {
        let Some(missing) = &mut self.missing else { return };
        if from <= missing.after && sequence > missing.after {
            missing.after = sequence;
            self.is_dirty = true;
        }
        if missing.through.is_some_and(|through| missing.after >= through) {
            self.missing = None;
        }
    }

    /// Whoever reads has found the end of history, at `sequence`, and what was read is not confirmed yet. It is not the
    /// end any more when there was a ring since `rings`, or a message that was not pushed.
    pub(crate) fn ending(&mut self, sequence: Sequence, rings: u64) {
        if let Some(missing) = &mut self.missing
            && missing.skipped <= sequence
            && rings == self.rings
        {
            missing.end = missing.end.max(Some(sequence));
        }
    }

    /// Every message after `sequence` comes live, unless there was a ring since `rings`.
    pub(crate) fn comes_after(&mut self, sequence: Sequence, rings: u64) {
        if let Some(Missing { after, through: None, skipped, .. }) = self.missing
            && rings == self.rings
            && after <= sequence
        {
            self.end_missing(sequence.max(skipped));
        }
    }

    /// What is missing turned out to be nothing the user was to have, unless there was a ring since `rings`, or a message
    /// came that is to be read from history: then it was looked at too early.
    pub(crate) fn nothing_is_missing(&mut self, rings: u64) {
        if let Some(Missing { after, through, skipped, .. }) = self.missing
            && rings == self.rings
            && skipped <= through.unwrap_or(after)
        {
            self.through = self.through.max(through.unwrap_or(after));
            self.missing = None;
        }
    }

    /// Everything of history after `from`, through `sequence`, is confirmed, and there was no more when it was read, after
    /// `rings`. False when there may be by now.
    pub(crate) fn finish(&mut self, from: Sequence, sequence: Sequence, rings: u64) -> bool {
        self.read_through(from, sequence);
        match self.missing {
            Some(Missing { after, through: None, skipped, .. })
                if from <= after && skipped <= after && rings == self.rings =>
            {
                self.end_missing(after);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// What may be stored when something has changed since the last time: everything it calls confirmed is.
    pub(crate) fn take_cursor(&mut self) -> Option<Cursor> {
        std::mem::take(&mut self.is_dirty).then(|| self.cursor())
    }

    fn cursor(&self) -> Cursor {
        let through = match self.missing {
            Some(Missing { after, through: None, .. }) => after,
            _ => self.through,
        };
        let through = self.live.front().map_or(through, |live| before(live.sequence).min(through));
        let gap = self.missing.and_then(|missing| Some(Gap { after: missing.after, through: missing.through? }));
        // A gap that begins further on says nothing.
        Cursor { through, gap: gap.filter(|gap| gap.after < through) }
    }
}

#[cfg(test)]
mod tests;
