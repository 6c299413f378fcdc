//! Lets one process do one storage call at a time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use roost_storage::StorageError;

use crate::tests::hooked::Hook;

/// The hook every process's storage waits at.
#[derive(Default)]
pub(super) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// One call may begin.
    permit: bool,
    /// The call of this step.
    call: Option<&'static str>,
    in_flight: bool,
    waiting: Vec<Waker>,
}

#[async_trait]
impl Hook for Turns {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap();
            if std::mem::take(&mut state.permit) {
                (state.call, state.in_flight) = (Some(call), true);
                Poll::Ready(())
            } else {
                state.waiting.push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        Ok(())
    }

    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        self.0.lock().unwrap().in_flight = false;
        Ok(())
    }
}

/// A process, or one task of one. Dropping it is its crash: between two calls, wherever it stands.
pub(super) type Process = Pin<Box<dyn Future<Output = ()>>>;

/// What one step was.
pub(super) struct Step {
    /// The call it did; none when it ended without one.
    pub(super) call: Option<&'static str>,
    /// Whether the process has ended.
    pub(super) ended: bool,
}

impl Turns {
    /// Runs a process through its next storage call, up to where it asks for another or ends.
    pub(super) async fn step(self: &Arc<Self>, process: &mut Process) -> Step {
        self.step_at_most(process, u32::MAX).await
    }

    /// The same, which ends after so many polls, wherever the call then stands: only for a process that is then dropped.
    pub(super) async fn step_at_most(self: &Arc<Self>, process: &mut Process, mut polls: u32) -> Step {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            (state.permit, state.call) = (true, None);
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
        poll_fn(|cx| {
            let ended = process.as_mut().poll(cx).is_ready();
            let mut state = self.0.lock().unwrap();
            polls -= 1;
            if ended || polls == 0 || (state.call.is_some() && !state.in_flight) {
                (state.permit, state.in_flight) = (false, false);
                return Poll::Ready(Step { call: state.call, ended });
            }
            Poll::Pending
        })
        .await
    }
}
