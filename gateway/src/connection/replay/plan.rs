//! In which order one replay reads: rows of pending, oldest first, and where the user was in rooms, these rooms' history
//! in its place between them.

use std::collections::VecDeque;

use roost_storage::{ChatId, PendingKey, Sequence, Span};

/// What is still to be read.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) segments: VecDeque<Segment>,
    /// The row that was read last.
    pub(super) after: Option<PendingKey>,
    /// There are no more rows.
    pub(super) has_read_rows: bool,
}

/// A stretch of a room's history: messages after `after`, through `through` or whatever there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) chat: ChatId,
    /// Where the span it is from began: rows of this chat that are older come first.
    pub(super) begins: Sequence,
    /// Where what was missing began: everything from there on is confirmed with what this segment reads.
    pub(super) origin: Sequence,
    pub(super) after: Sequence,
    pub(super) through: Option<Sequence>,
    /// With the chat's last segment everything is read that was missing: through here, or through its end.
    pub(super) completes: Option<Option<Sequence>>,
}

impl Plan {
    pub(super) fn new(mut segments: Vec<Segment>) -> Self {
        segments.sort_by_key(|segment| segment.begins);
        Self { segments: segments.into(), ..Self::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.has_read_rows && self.segments.is_empty()
    }

    /// Leaves what is left of a chat to a later replay.
    pub(super) fn drop_chat(&mut self, chat: &ChatId) {
        self.segments.retain(|segment| segment.chat != *chat);
    }
}

/// Cuts what is missing of a chat's history to the times in which the chat was in room mode and the user a member, oldest
/// first, and to what is newer than `oldest`. The last one completes it; there is none when nothing is left.
pub(super) fn segments(
    chat: &ChatId,
    room: &[Span],
    member: &[Span],
    after: Sequence,
    through: Option<Sequence>,
    oldest: Sequence,
) -> Vec<Segment> {
    let mut segments = Vec::new();
    for room in room {
        for member in member {
            let begins = room.since.max(member.since);
            let from = begins.max(after).max(oldest);
            let to = [room.until, member.until, through].into_iter().flatten().min();
            if to.is_none_or(|to| from < to) {
                segments.push(Segment {
                    chat: chat.clone(),
                    begins,
                    origin: after,
                    after: from,
                    through: to,
                    completes: None,
                });
            }
        }
    }
    if let Some(last) = segments.last_mut() {
        last.completes = Some(through);
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(since: u64, until: Option<u64>) -> Span {
        Span { since: Sequence(since), until: until.map(Sequence) }
    }

    fn cut(room: &[Span], member: &[Span], after: u64, through: Option<u64>) -> Vec<(u64, Option<u64>)> {
        let chat = ChatId::new("c").unwrap();
        let segments = segments(&chat, room, member, Sequence(after), through.map(Sequence), Sequence(0));
        segments.into_iter().map(|segment| (segment.after.0, segment.through.map(|through| through.0))).collect()
    }

    #[test]
    fn what_is_missing_is_cut_to_room_mode_and_membership() {
        let (open, ended) = (span(10, None), span(10, Some(20)));
        assert_eq!(cut(&[open], &[span(3, None)], 0, None), [(10, None)]);
        assert_eq!(cut(&[open], &[span(30, None)], 0, None), [(30, None)]);
        assert_eq!(cut(&[open], &[span(10, None)], 15, Some(18)), [(15, Some(18))]);
        assert_eq!(cut(&[ended], &[span(10, None)], 15, None), [(15, Some(20))]);
        assert_eq!(cut(&[ended], &[span(10, None)], 20, None), []);
        assert_eq!(cut(&[open], &[span(10, Some(12)), span(16, None)], 5, None), [(10, Some(12)), (16, None)]);
        assert_eq!(cut(&[ended, span(30, None)], &[span(10, None)], 0, None), [(10, Some(20)), (30, None)]);
        assert_eq!(cut(&[], &[span(10, None)], 0, None), []);
    }

    #[test]
    fn only_the_last_segment_completes_a_chat() {
        let chat = ChatId::new("c").unwrap();
        let member = [span(10, Some(12)), span(16, None)];
        let found = segments(&chat, &[span(10, None)], &member, Sequence(0), Some(Sequence(40)), Sequence(0));
        let completes: Vec<_> = found.iter().map(|segment| segment.completes).collect();
        assert_eq!(completes, [None, Some(Some(Sequence(40)))]);
        let found = segments(&chat, &[span(10, None)], &member, Sequence(0), None, Sequence(17));
        assert_eq!((found.len(), found[0].after, found[0].origin), (1, Sequence(17), Sequence(0)));
    }
}
