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
pub(crate) struct Answers {
    queue: VecDeque<Answer>,
    /// Of the frames that wait behind a send.
    bytes: usize,
}

impl Answers {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How much waits; a client is not read beyond the bound of what may be queued for it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn queue_send(&mut self, send: SendUnderWay) {
        self.queue.push_back(Answer::Send(send));
    }

    /// Gives the frame back when there is nothing to stay behind.
    pub(super) fn queue_behind(&mut self, frame: ServerFrame) -> Option<ServerFrame> {
        if self.queue.is_empty() {
            return Some(frame);
        }
        self.bytes += frame.as_str().len();
        self.queue.push_back(Answer::Ready(frame));
        None
    }

    /// The frames of the oldest answer, once it is there; waits for ever when there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<ServerFrame> {
        std::future::poll_fn(|context| {
            let frames = match self.queue.front_mut() {
                None => return Poll::Pending,
                Some(Answer::Ready(frame)) => {
                    self.bytes -= frame.as_str().len();
                    vec![frame.clone()]
                }
                Some(Answer::Send(send)) => match Pin::new(send).poll(context) {
                    Poll::Ready(frames) => frames,
                    Poll::Pending => return Poll::Pending,
                },
            };
            self.queue.pop_front();
            if self.queue.is_empty() {
                self.queue = VecDeque::new();
            }
            Poll::Ready(frames)
        })
        .await
    }
}
