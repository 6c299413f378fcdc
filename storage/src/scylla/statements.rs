//! The prepared statements. Prepared once, all idempotent: repeating any of them changes nothing.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::prepared::PreparedStatement;

use super::cql;

/// Rows of messages in one page: a page is in memory at once, and a message may be long.
const MESSAGES_PER_PAGE: i32 = 250;
/// Rows of ids and numbers in one page.
const IDS_PER_PAGE: i32 = 2000;

/// Declares [`Statements`]: each field is the file of its name, with the rows in one page of its answer.
macro_rules! statements {
    ($($name:ident: $rows:expr,)+) => {
        /// Every statement, by the name of its file.
        pub(super) struct Statements {
            $(pub(super) $name: PreparedStatement,)+
        }

        impl Statements {
            /// Prepares all of them on the keyspace the session uses.
            pub(super) async fn prepare(session: &Session) -> Result<Self, PrepareError> {
                Ok(Self {
                    $($name: prepare(session, include_str!(concat!("statements/", stringify!($name), ".cql")), $rows)
                        .await?,)+
                })
            }
        }
    };
}

statements! {
    pending_put: IDS_PER_PAGE,
    pending_page_first: MESSAGES_PER_PAGE,
    pending_page_after: MESSAGES_PER_PAGE,
    pending_sequences: IDS_PER_PAGE,
    pending_delete: IDS_PER_PAGE,
    history_put: IDS_PER_PAGE,
    history_forward: MESSAGES_PER_PAGE,
    history_backward: MESSAGES_PER_PAGE,
    history_sequences: IDS_PER_PAGE,
    history_buckets_put: IDS_PER_PAGE,
    history_buckets_forward: IDS_PER_PAGE,
    history_buckets_backward: IDS_PER_PAGE,
    chats_applied: IDS_PER_PAGE,
    chats_set_applied: IDS_PER_PAGE,
    members_put: IDS_PER_PAGE,
    members_delete: IDS_PER_PAGE,
    members_one: IDS_PER_PAGE,
    members_page: IDS_PER_PAGE,
    chats_of_put: IDS_PER_PAGE,
    chats_of_delete: IDS_PER_PAGE,
    chats_of_page: IDS_PER_PAGE,
    removals_put: IDS_PER_PAGE,
    removals_of: IDS_PER_PAGE,
    room_chats_put: IDS_PER_PAGE,
    room_chats_one: IDS_PER_PAGE,
    rooms_of_put: IDS_PER_PAGE,
    rooms_of_one: IDS_PER_PAGE,
    rooms_of_page: MESSAGES_PER_PAGE,
    cursors_put: IDS_PER_PAGE,
    cursors_of: IDS_PER_PAGE,
}

async fn prepare(session: &Session, file: &str, rows_per_page: i32) -> Result<PreparedStatement, PrepareError> {
    let mut statement = session.prepare(text(file)).await?;
    statement.set_is_idempotent(true);
    statement.set_page_size(rows_per_page);
    Ok(statement)
}

/// The one statement of a file.
pub(super) fn text(file: &str) -> String {
    let mut statements = cql::statements(file);
    assert_eq!(statements.len(), 1, "a statement's file holds one statement");
    statements.remove(0)
}
