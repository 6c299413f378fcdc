//! Every reason an error answer of the chat can give.

/// Not one's own notification topic, or not a member of the chat.
pub(super) const UNAUTHORIZED: &str = "unauthorized";
/// No such chat.
pub(super) const CHAT_NOT_FOUND: &str = "chat_not_found";
/// The storage did not answer; try again.
pub(super) const UNAVAILABLE: &str = "unavailable";
/// Too much is under way; try again later. Nothing was stored.
pub(super) const OVERLOADED: &str = "overloaded";
/// The payload is not an object with the event's fields, each once.
pub(super) const INVALID_PAYLOAD: &str = "invalid_payload";
/// `content` is not a string, or not valid Unicode.
pub(super) const INVALID_CONTENT: &str = "invalid_content";
/// `content` is empty.
pub(super) const CONTENT_EMPTY: &str = "content_empty";
/// `content` is longer than `chats.content_bytes_max`.
pub(super) const CONTENT_TOO_LONG: &str = "content_too_long";
/// `mobile_ref_id` is missing, not a string, empty, or longer than `chats.mobile_ref_id_bytes_max`.
pub(super) const INVALID_MOBILE_REF_ID: &str = "invalid_mobile_ref_id";
