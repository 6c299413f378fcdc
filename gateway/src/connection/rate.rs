//! How fast a connection may send: a token bucket. Beyond it the connection is not read for a moment, so that the
//! client's own TCP window slows it down; nothing is refused and nothing is lost.

use std::time::Duration;

use tokio::time::Instant;

/// Frames per second, with a burst of two seconds' worth.
pub(super) struct Rate {
    interval: Duration,
    burst: Duration,
    /// The moment at which every frame so far would have been due at the steady rate (the generic cell rate
    /// algorithm, ITU-T I.371).
    due: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, burst: Duration::from_secs(2), due: now }
    }

    /// Counts a frame; true when it begins a throttle.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        let was_throttled = self.is_throttled(now);
        self.due = self.due.max(now) + self.interval;
        !was_throttled && self.is_throttled(now)
    }

    pub(super) fn is_throttled(&self, now: Instant) -> bool {
        self.due > now + self.burst
    }

    /// When reading may go on.
    pub(super) fn throttled_until(&self) -> Option<Instant> {
        self.due.checked_sub(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_steady_rate_holds_behind_it() {
        let now = Instant::now();
        let mut rate = Rate::new(10, now);
        for _ in 0..20 {
            assert!(!rate.count(now));
        }
        assert!(rate.count(now), "the 21st frame in no time throttles");
        assert!(rate.is_throttled(now));
        let later = rate.throttled_until().unwrap();
        assert_eq!(later, now + Duration::from_millis(100));
        assert!(!rate.is_throttled(later));
    }
}
