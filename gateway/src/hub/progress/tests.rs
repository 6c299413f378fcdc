//! Progress against a model: what is stored never calls confirmed what is not, and nothing falls between what is live
//! and what is missing.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

fn at(sequence: u64) -> Sequence {
    Sequence(sequence)
}

fn cursor(through: u64, gap: Option<(u64, u64)>) -> Cursor {
    Cursor { through: at(through), gap: gap.map(|(after, through)| Gap { after: at(after), through: at(through) }) }
}

/// One that has read everything through `sequence`.
fn caught_up(sequence: u64) -> Progress {
    let mut progress = Progress::new();
    progress.load(Some(cursor(sequence, None)));
    assert!(progress.finish(at(0), at(sequence), 0));
    progress.take_cursor();
    progress
}

#[test]
fn a_live_message_is_pushed_once_and_confirming_it_moves_the_cursor() {
    let mut progress = caught_up(10);
    assert!(progress.admit(at(11), true));
    assert!(!progress.admit(at(11), true), "it came again");
    assert_eq!(progress.take_cursor(), None);
    progress.settle(at(11));
    assert_eq!(progress.take_cursor(), Some(cursor(11, None)));
    assert_eq!(progress.take_cursor(), None, "nothing has changed since");
}

#[test]
fn the_cursor_waits_for_the_oldest_unconfirmed() {
    let mut progress = caught_up(10);
    assert!(progress.admit(at(11), true) && progress.admit(at(12), true));
    progress.settle(at(12));
    assert_eq!(progress.cursor(), cursor(10, None));
    progress.settle(at(11));
    assert_eq!(progress.cursor(), cursor(12, None));
}

#[test]
fn what_is_given_up_is_missing_and_a_gap_in_the_cursor() {
    let mut progress = caught_up(10);
    assert!(progress.admit(at(11), true) && progress.admit(at(12), true));
    progress.give_up(at(11));
    progress.settle(at(12));
    assert_eq!(progress.cursor(), cursor(12, Some((10, 11))));
    let missing = progress.missing().unwrap();
    assert_eq!((missing.after, missing.through), (at(10), Some(at(11))));
    assert!(progress.finish(at(0), at(11), 0));
    assert_eq!(progress.cursor(), cursor(12, None));
}

#[test]
fn who_enters_the_room_behind_gets_live_messages_and_misses_those_before() {
    let mut progress = Progress::new();
    assert!(progress.admit(at(20), true));
    progress.load(Some(cursor(5, None)));
    let missing = progress.missing().unwrap();
    assert_eq!((missing.after, missing.through), (at(5), Some(at(19))));
    progress.settle(at(20));
    assert_eq!(progress.cursor(), cursor(20, Some((5, 19))));
}

#[test]
fn who_is_notified_and_behind_reads_live_messages_from_history() {
    let mut progress = Progress::new();
    progress.load(None);
    assert!(!progress.admit(at(20), false), "it is read from history");
    assert!(!progress.finish(at(0), at(19), 0), "there is one more");
    assert!(progress.finish(at(0), at(20), 0));
    assert!(progress.admit(at(21), false));
}

#[test]
fn near_the_end_of_history_live_messages_are_pushed_behind_what_was_read() {
    let mut progress = Progress::new();
    progress.load(None);
    progress.ending(at(19), 0);
    assert!(!progress.admit(at(19), false), "it was read");
    assert!(progress.admit(at(20), false));
    let missing = progress.missing().unwrap();
    assert_eq!((missing.after, missing.through), (at(0), Some(at(19))));
}

#[test]
fn who_enters_the_room_at_a_known_place_reads_only_what_is_before_it() {
    let mut progress = Progress::new();
    progress.comes_after(at(20), 0);
    assert!(!progress.admit(at(20), true), "it is read from history");
    assert!(progress.admit(at(21), true));
    let missing = progress.missing().unwrap();
    assert_eq!((missing.after, missing.through), (at(0), Some(at(20))));
}

#[test]
fn that_nothing_is_missing_does_not_hold_for_a_message_that_came_since() {
    let mut progress = Progress::new();
    assert!(!progress.admit(at(20), false), "it is read from history");
    progress.nothing_is_missing(progress.rings());
    assert!(progress.missing().is_some());
    let mut progress = Progress::new();
    progress.nothing_is_missing(progress.rings());
    assert_eq!(progress.missing(), None);
    assert!(progress.admit(at(20), false));
}

#[test]
fn own_messages_are_passed_over() {
    let mut progress = caught_up(10);
    progress.pass(at(11));
    assert_eq!(progress.cursor(), cursor(11, None));
    assert!(!progress.admit(at(11), true));
}

#[test]
fn a_stored_cursor_is_taken_into_account_with_its_gap() {
    for (stored, after) in [(cursor(9, None), 9), (cursor(9, Some((3, 6))), 3)] {
        let mut progress = Progress::new();
        progress.load(Some(stored));
        assert_eq!(progress.missing().unwrap().after, at(after));
    }
    let mut progress = Progress::new();
    progress.read_through(at(0), at(7));
    progress.load(Some(cursor(9, Some((3, 6)))));
    assert_eq!(progress.missing().unwrap().after, at(9), "its gap is read here");
}

/// What may happen to one user in one room.
#[derive(Debug, Clone)]
enum Step {
    Arrive {
        in_room: bool,
    },
    ArriveOwn,
    ArriveElsewhere,
    /// Everything from now on comes live.
    Enter,
    /// A message that does not come.
    Silence,
    /// A message of which this gateway is only told that there is one.
    Refused,
    Confirm(usize),
    GiveUp(usize),
    /// Begins to read a page of history, or goes on.
    Read(usize),
    /// What was read is confirmed.
    ConfirmRead,
    /// What was read will not be confirmed: its channel has ended.
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|in_room| Step::Arrive { in_room }),
        1 => Just(Step::ArriveOwn),
        1 => Just(Step::ArriveElsewhere),
        1 => Just(Step::Refused),
        1 => Just(Step::Enter),
        1 => Just(Step::Silence),
        4 => (0..4_usize).prop_map(Step::Confirm),
        1 => (0..4_usize).prop_map(Step::GiveUp),
        3 => (1..4_usize).prop_map(Step::Read),
        3 => Just(Step::ConfirmRead),
        1 => Just(Step::Abandon),
    ]
}

struct Reading {
    from: u64,
    to: u64,
    rings: u64,
    /// Everything there was within what was missing.
    is_end: bool,
}

/// The user's clients, and the truth.
struct Model {
    progress: Progress,
    newest: u64,
    confirmed: BTreeSet<u64>,
    own: BTreeSet<u64>,
    /// Nothing has been heard of these yet.
    silent: BTreeSet<u64>,
    live: VecDeque<u64>,
    reading: Option<Reading>,
}

impl Model {
    fn new() -> Self {
        let (confirmed, own, silent) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { progress: Progress::new(), newest: 0, confirmed, own, silent, live: VecDeque::new(), reading: None }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { in_room } => {
                self.comes();
                if self.progress.admit(at(self.newest), in_room) {
                    self.live.push_back(self.newest);
                }
            }
            Step::ArriveOwn => {
                self.comes();
                self.confirmed.insert(self.newest);
                self.own.insert(self.newest);
                self.progress.pass(at(self.newest));
            }
            Step::ArriveElsewhere => {
                self.comes();
                self.progress.skip(at(self.newest));
            }
            Step::Enter => {
                self.progress.comes_after(at(self.newest), self.progress.rings());
            }
            Step::Refused => {
                self.newest += 1;
                self.progress.miss_from_now();
            }
            // Nobody says so: the next message does.
            Step::Silence => {
                self.newest += 1;
                self.silent.insert(self.newest);
            }
            Step::Confirm(index) if index < self.live.len() => {
                let sequence = self.live.remove(index).unwrap();
                self.confirmed.insert(sequence);
                self.progress.settle(at(sequence));
            }
            Step::GiveUp(index) if index < self.live.len() => {
                let sequence = self.live.remove(index).unwrap();
                self.progress.give_up(at(sequence));
            }
            Step::Read(count) => self.read(count as u64),
            Step::ConfirmRead => {
                let Some(reading) = self.reading.take() else { return };
                self.confirmed.extend(reading.from + 1..=reading.to);
                if reading.is_end {
                    self.progress.finish(at(reading.from), at(reading.to), reading.rings);
                } else {
                    self.progress.read_through(at(reading.from), at(reading.to));
                }
            }
            Step::Abandon => self.reading = None,
            Step::Confirm(_) | Step::GiveUp(_) => {}
        }
    }

    /// The next message comes, and says which one was before it.
    fn comes(&mut self) {
        let previous = self.newest;
        self.newest += 1;
        self.progress.follows(at(self.newest), Some(at(previous)));
        self.silent.clear();
    }

    fn read(&mut self, count: u64) {
        let (None, Some(missing)) = (&self.reading, self.progress.missing()) else { return };
        let end = missing.through.map_or(self.newest, |through| through.0).max(missing.after.0);
        let to = (missing.after.0 + count).min(end);
        if to == end && missing.through.is_none() {
            self.progress.ending(at(to), self.progress.rings());
        }
        self.reading = Some(Reading { from: missing.after.0, to, rings: self.progress.rings(), is_end: to == end });
    }

    fn check(&self) {
        let cursor = self.progress.cursor();
        let is_claimed = |sequence: u64| {
            sequence <= cursor.through.0
                && cursor.gap.is_none_or(|gap| sequence <= gap.after.0 || sequence > gap.through.0)
        };
        let missing = self.progress.missing();
        let is_missing = |sequence: u64| {
            missing.is_some_and(|missing| {
                sequence > missing.after.0 && missing.through.is_none_or(|through| sequence <= through.0)
            })
        };
        for sequence in (1..=self.newest).filter(|sequence| !self.confirmed.contains(sequence)) {
            assert!(!is_claimed(sequence), "{sequence} is not confirmed, and {cursor:?} calls it so");
            let is_silent = self.silent.contains(&sequence);
            assert!(is_silent || self.live.contains(&sequence) || is_missing(sequence), "{sequence} is forgotten");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_forgotten_and_nothing_unconfirmed_is_called_confirmed(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step);
            model.check();
        }
        // Once everything is confirmed the cursor says so.
        model.take(Step::ArriveOwn);
        while let Some(sequence) = model.live.front().copied() {
            model.confirmed.insert(sequence);
            model.take(Step::Confirm(0));
        }
        for _ in 0..3 {
            model.reading = None;
            model.take(Step::Read(1_000));
            model.take(Step::ConfirmRead);
        }
        prop_assert_eq!(model.progress.missing(), None);
        let cursor = model.progress.cursor();
        prop_assert_eq!(cursor.gap, None);
        let beyond = cursor.through.0 + 1..=model.newest;
        prop_assert!(beyond.clone().all(|sequence| model.own.contains(&sequence)), "{:?} is beyond the cursor", beyond);
    }
}
