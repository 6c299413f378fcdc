//! `typing` on a chat topic: shown to the others in the room, not stored, not answered.

use futures_util::FutureExt;
use roost_storage::{ChatId, Signal};
use serde::Deserialize;
use tracing::debug;

use super::{Conversation, read_object, reason};
use crate::phoenix::EventRequest;

#[derive(Deserialize)]
struct Typing {
    is_typing: bool,
}

impl Conversation {
    pub(super) fn on_typing(&mut self, chat: &ChatId, event: EventRequest<'_>) {
        let Some(Typing { is_typing }) = read_object(event.payload) else {
            return self.refuse_event(&event, reason::INVALID_PAYLOAD);
        };
        let signal = Signal::Typing {
            chat: chat.clone(),
            user: self.link.user.clone(),
            is_typing,
            origin: self.link.id.clone(),
        };
        let signals = self.node.storage.signals.clone();
        let mut publishing = Box::pin(async move {
            if let Err(error) = signals.publish(&signal).await {
                debug!(%error, "typing not published");
            }
        });
        // In the order of the events where the backend takes it at once. What is lost here is no loss, so the connection
        // need not wait for one that does not; the inbound rate bounds how many run.
        if publishing.as_mut().now_or_never().is_none() {
            tokio::spawn(publishing);
        }
    }
}
