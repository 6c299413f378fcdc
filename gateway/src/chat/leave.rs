//! `phx_leave`: the connection hears nothing more on the topic; what was queued for it becomes pending.

use super::{Conversation, Topic};
use crate::close::Close;
use crate::phoenix::Frames;

impl Conversation {
    pub(super) async fn on_leave(&mut self, topic: Topic, frames: Frames) -> Result<(), Close> {
        self.withdraw(&topic).await?;
        self.say_all(frames);
        Ok(())
    }
}
