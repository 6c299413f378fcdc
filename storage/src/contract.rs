//! Contract suites: one function per promise of the traits, run on every backend.
//!
//! A backend's tests say `contract_suite!(name, fixture)`, where `fixture` is an async expression that gives a fresh,
//! empty [`Fixture`]: every function of every suite becomes one test. The tests need tokio as a (dev) dependency.
//! Clocks are real, so that servers can take part; waits are bounded and end as soon as what they wait for is there.

pub mod chats;
pub mod cursors;
pub mod event_log;
pub mod history;
pub mod mailboxes;
pub mod pending;
pub mod sessions;
pub mod signals;

use std::time::Duration;

use crate::{ChatId, ConnectionId, DeviceId, GatewayId, Message, Sequence, Storage, UserId};

/// How many entries a fixture's partitions must hold before they refuse more.
pub const PARTITION_ENTRIES_MAX: u64 = 2000;
/// How many deliveries a fixture's mailboxes must hold before they refuse more.
pub const MAILBOX_ENTRIES_MAX: u64 = 500;

/// A fresh, empty backend, with the limits above and a dedupe window of at least a minute. Kept until the test is over.
pub trait Fixture: Send + Sync {
    /// The backend.
    fn storage(&self) -> Storage;
}

/// A wait for what should come.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// A wait for what should not come.
pub(crate) const MOMENT: Duration = Duration::from_millis(50);
/// A lease that does not run out during a test.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// A lease that runs out during a test.
pub(crate) const SHORT: Duration = Duration::from_millis(30);

/// Repeats `check` until it gives something, for at most [`SOON`].
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn unique(kind: &str) -> String {
    format!("{kind}-{:016x}", rand::random::<u64>())
}

pub(crate) fn new_chat() -> ChatId {
    ChatId::new(unique("chat")).expect("it is short")
}

pub(crate) fn new_user() -> UserId {
    UserId::new(unique("user")).expect("it is short")
}

pub(crate) fn new_device() -> DeviceId {
    DeviceId::new(unique("device")).expect("it is short")
}

pub(crate) fn connection_of(gateway: &GatewayId, number: u64) -> ConnectionId {
    ConnectionId { gateway: gateway.clone(), number }
}

/// Every awkward thing that content may hold: NUL, quotes, a line end, characters of two to four bytes.
pub(crate) const CONTENT: &str = "a\0\"\\\r\n\u{7f}é€😀\u{10ffff}";

pub(crate) fn message_at(chat: &ChatId, sequence: u64) -> Message {
    Message {
        chat: chat.clone(),
        sequence: Sequence(sequence),
        sender: new_user(),
        content: format!("{CONTENT}{sequence}").into(),
    }
}

/// Makes one test of each contract function, in modules named for the traits, within a module of the given name.
#[macro_export]
macro_rules! contract_suite {
    ($module:ident, $fixture:expr) => {
        mod $module {
            #[allow(unused_imports, reason = "which of them are used depends on the suites that are asked for")]
            use super::*;

            $crate::contract_streams!($fixture);
            $crate::contract_tables!($fixture);
        }
    };
}

/// The suites of what is queued, leased and signalled: for a backend of these alone. Inside a module of its own.
#[macro_export]
macro_rules! contract_streams {
    ($fixture:expr) => {
        $crate::contract_tests!(event_log, $fixture,
            a_new_partition_has_no_entries
            appends_are_read_in_order_with_positions_and_previous_sequences
            sequences_of_one_chat_increase_across_concurrent_appends
            sequences_are_microseconds_since_the_epoch
            content_comes_back_byte_for_byte
            membership_changes_come_back
            a_repetition_returns_the_first_sequence_and_writes_no_entry
            a_repetition_inside_one_append_writes_no_entry
            a_repetition_after_trimming_returns_the_first_sequence
            concurrent_repetitions_write_one_entry
            the_same_text_under_another_key_is_another_event
            events_without_a_key_are_never_repetitions
            one_append_may_mix_partitions
            an_append_of_nothing_does_nothing
            reading_goes_on_after_a_position
            a_reader_that_waits_is_woken_by_an_append
            a_reader_that_waits_in_vain_gets_nothing
            a_reader_behind_the_cursor_waits_for_what_comes
            a_lease_is_granted_to_one_worker
            a_holder_acquires_again_with_the_same_epoch
            a_lease_whose_time_has_run_out_can_be_taken
            a_renewed_lease_outlives_its_first_time
            a_lease_whose_time_has_run_out_is_kept_if_nobody_took_it
            a_released_lease_can_be_taken_at_once_with_a_higher_epoch
            a_zombie_neither_renews_nor_commits_nor_releases
            a_commit_moves_the_cursor_and_lowers_the_lag
            a_cursor_never_moves_back
            a_cursor_outlives_its_leaseholder
            positions_go_on_after_everything_was_trimmed
            a_full_partition_refuses_and_takes_again_after_a_commit
            a_full_partition_still_answers_repetitions
            announced_workers_are_listed_until_they_retire_or_run_out
        );
        $crate::contract_tests!(mailboxes, $fixture,
            a_mailbox_that_was_never_opened_refuses
            items_are_read_in_the_order_they_were_put
            every_kind_of_item_comes_back
            putting_nothing_is_accepted
            opening_again_keeps_what_is_there
            reading_goes_on_after_a_position
            a_reader_that_waits_is_woken_by_a_put
            a_reader_that_waits_in_vain_gets_nothing
            a_reader_behind_the_confirmed_position_waits_for_what_comes
            confirming_moves_the_position_and_never_back
            positions_go_on_after_everything_was_confirmed
            a_fenced_mailbox_refuses_and_stays_readable
            a_fence_before_opening_holds
            a_fence_lets_no_later_put_through
            a_removed_mailbox_is_empty_and_stays_fenced
            mailboxes_do_not_mix
            a_full_mailbox_refuses_deliveries_all_or_none
            a_full_mailbox_takes_rings_closes_and_disconnects
            a_full_mailbox_refuses_deliveries_to_rooms_all_or_none
            a_full_mailbox_takes_rings_and_entries_of_rooms
        );
        $crate::contract_tests!(sessions, $fixture,
            a_registered_session_is_found
            registering_again_replaces
            look_ups_answer_in_the_order_asked
            an_unregistered_session_is_gone_and_others_stay
            a_session_of_an_unknown_gateway_is_refused
            sessions_of_a_gateway_without_a_lease_are_not_found_nor_taken
            a_renewed_gateway_outlives_its_first_time
            a_late_gateway_that_nobody_claimed_is_kept_and_its_sessions_are_found_again
            an_unknown_gateway_can_not_renew
            a_living_gateway_is_not_dead_and_can_not_be_claimed
            a_dead_gateway_is_claimed_by_one_worker_at_a_time
            a_claimed_gateway_is_lost_for_ever
            sessions_of_a_dead_gateway_can_be_listed_and_removed
            a_forgotten_gateway_is_not_dead_any_more
            a_forgotten_gateway_can_not_renew_nor_register
            sessions_are_counted
            a_gateway_follows_a_chat_until_it_unfollows
            following_twice_is_following_once
            followers_come_sorted_in_the_order_of_the_chats_asked_and_no_others
            who_has_a_session_does_not_follow_by_that
            an_unknown_gateway_can_not_follow
            a_gateway_without_a_lease_is_no_follower_and_is_one_again_with_it
            a_claimed_gateway_neither_follows_nor_is_a_follower
            a_forgotten_gateway_follows_nothing
        );
        $crate::contract_tests!(signals, $fixture,
            a_follower_gets_a_signal_and_others_do_not
            every_following_gateway_gets_it_the_publishing_one_too
            nothing_comes_after_unfollowing
            publishing_without_followers_is_no_error
        );
    };
}

/// The suites of what is stored for long: for a backend of these alone. Inside a module of its own.
#[macro_export]
macro_rules! contract_tables {
    ($fixture:expr) => {
        $crate::contract_tests!(pending, $fixture,
            a_user_without_rows_has_an_empty_last_page
            rows_come_oldest_first_with_ties_by_chat
            content_comes_back_byte_for_byte
            paging_reaches_every_row_once
            putting_again_does_not_double_a_row
            a_late_writer_of_an_old_row_is_seen
            an_old_row_is_seen_after_everything_was_deleted
            exactly_the_named_rows_are_deleted
            deleting_what_is_not_there_is_no_error
            users_whose_ids_begin_alike_do_not_mix
            rows_are_counted
            old_rows_expire_or_are_left_to_the_backend
        );
        $crate::contract_tests!(history, $fixture,
            a_chat_without_messages_is_empty
            messages_are_read_forward_and_backward
            reading_goes_on_beyond_a_sequence
            appending_again_does_not_double_a_message
            content_comes_back_byte_for_byte
            chats_whose_ids_begin_alike_do_not_mix
            one_append_may_mix_chats
            who_reads_forward_during_appends_finds_no_message_without_those_before_it
        );
        $crate::contract_tests!(chats, $fixture,
            a_chat_that_nobody_made_does_not_exist
            the_first_change_creates_the_chat
            set_replaces_the_members_and_returns_the_former
            add_and_remove_change_one_member
            removing_who_is_no_member_returns_nobody
            a_change_at_or_below_the_last_one_is_ignored
            members_are_paged_sorted
            chats_of_a_user_are_paged_sorted
            both_directions_agree_after_many_changes
            an_emptied_chat_still_exists
            a_chat_that_never_was_in_room_mode_has_no_spans
            spans_begin_and_end_with_changes
            a_chat_may_be_in_room_mode_from_its_first_change
            repeating_the_last_change_changes_no_span
            every_member_enters_when_room_mode_begins
            who_joins_a_room_enters_and_the_others_stay_as_they_are
            who_leaves_a_room_keeps_what_was_before_and_may_come_back
            membership_goes_on_when_room_mode_ends_and_begins_again
            of_too_many_spans_the_last_are_kept
            rooms_of_a_user_are_paged_sorted
        );
        $crate::contract_tests!(cursors, $fixture,
            a_user_without_cursors_has_none
            a_cursor_comes_back_with_its_gap
            a_cursor_is_replaced_as_a_whole
            of_one_cursor_put_twice_at_once_the_last_counts
            users_and_chats_whose_ids_begin_alike_do_not_mix
            many_cursors_are_put_at_once_and_come_back_sorted
        );
    };
}

/// One test per name: the inner part of [`contract_suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($suite:ident, $fixture:expr, $($name:ident)+) => {
        mod $suite {
            #[allow(unused_imports, reason = "which of them are used depends on the suites that are asked for")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let fixture = $fixture.await;
                    $crate::contract::$suite::$name($crate::contract::Fixture::storage(&fixture)).await;
                }
            )+
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_macro_names_every_function_of_every_suite() {
        let suites = [
            ("event_log", include_str!("contract/event_log.rs")),
            ("event_log", include_str!("contract/event_log/leases.rs")),
            ("mailboxes", include_str!("contract/mailboxes.rs")),
            ("sessions", include_str!("contract/sessions.rs")),
            ("sessions", include_str!("contract/sessions/followers.rs")),
            ("pending", include_str!("contract/pending.rs")),
            ("history", include_str!("contract/history.rs")),
            ("chats", include_str!("contract/chats.rs")),
            ("chats", include_str!("contract/chats/rooms.rs")),
            ("cursors", include_str!("contract/cursors.rs")),
            ("signals", include_str!("contract/signals.rs")),
        ];
        let whole = include_str!("contract.rs");
        for (suite, source) in suites {
            let start = whole.find(&format!("contract_tests!({suite}, ")).unwrap();
            let list = &whole[start..start + whole[start..].find(");").unwrap()];
            let names = source.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
            let mut count = 0;
            for name in names {
                count += 1;
                assert!(list.lines().any(|line| line.trim() == name), "{suite}: {name} is not run");
            }
            assert!(count > 0, "{suite}: no functions found");
        }
    }
}
