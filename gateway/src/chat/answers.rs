//! Answers under way: a send's outcome, and whatever else has to stay behind it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use super::send_message::SendUnderWay;
use crate::phoenix::ServerFrame;

enum Answer {
    Send(SendUnderWay),
    Ready(ServerFrame),
}

/// Answers in the order of their events.
#[derive(Default)]
pub(crate) struct Answers(VecDeque<Answer>);

impl Answers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn queue_send(&mut self, send: SendUnderWay) {
        self.0.push_back(Answer::Send(send));
    }

    /// Gives the frame back when there is nothing to stay behind.
    pub(super) fn queue_behind(&mut self, frame: ServerFrame) -> Option<ServerFrame> {
        if self.0.is_empty() {
            return Some(frame);
        }
        self.0.push_back(Answer::Ready(frame));
        None
    }

    /// The frames of the oldest answer, once it is there; waits for ever when there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<ServerFrame> {
        std::future::poll_fn(|context| {
            let frames = match self.0.front_mut() {
                None => return Poll::Pending,
                Some(Answer::Ready(frame)) => vec![frame.clone()],
                Some(Answer::Send(send)) => match Pin::new(send).poll(context) {
                    Poll::Ready(frames) => frames,
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.0.pop_front();
            if self.0.is_empty() {
                self.0 = VecDeque::new();
            }
            Poll::Ready(frames)
        })
        .await
    }
}
