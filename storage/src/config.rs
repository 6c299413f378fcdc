//! What every crate's part of the configuration is made of: faults that name their key, and durations as people write
//! them. Not the reading of files or of the environment: that is the binary's.

pub mod duration_text;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Something wrong with the configuration. Start-up collects all of them before it gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key, as in the file: `gateway.listen`.
    pub key: String,
    /// What is wrong, and with which value. Never a secret.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// Collects the faults of one section of the configuration.
#[derive(Debug)]
pub struct Faults {
    section: &'static str,
    found: Vec<Fault>,
}

impl Faults {
    /// No fault so far in `section`.
    pub fn of(section: &'static str) -> Self {
        Self { section, found: Vec::new() }
    }

    /// A fault of `key`.
    pub fn add(&mut self, key: &str, problem: impl Into<String>) {
        self.found.push(Fault { key: format!("{}.{key}", self.section), problem: problem.into() });
    }

    /// A fault of `key` unless `holds`.
    pub fn check(&mut self, key: &str, holds: bool, problem: &str) {
        if !holds {
            self.add(key, problem);
        }
    }

    /// A fault of `key` unless the number lies within the limits.
    pub fn number(&mut self, key: &str, value: usize, limits: RangeInclusive<usize>) {
        if !limits.contains(&value) {
            self.add(key, format!("must be {} to {}, is {value}", limits.start(), limits.end()));
        }
    }

    /// A fault of `key` unless the duration lies within the limits.
    pub fn duration(&mut self, key: &str, value: Duration, limits: RangeInclusive<Duration>) {
        if !limits.contains(&value) {
            let (least, most) = (duration_text::format(*limits.start()), duration_text::format(*limits.end()));
            self.add(key, format!("must be {least} to {most}, is {}", duration_text::format(value)));
        }
    }

    /// What was found, in the order it was found.
    pub fn found(self) -> Vec<Fault> {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_its_key_the_limits_and_the_value() {
        let mut faults = Faults::of("gateway");
        faults.number("topics_max", 0, 1..=10);
        faults.number("topics_max", 10, 1..=10);
        faults.duration("idle_timeout", Duration::ZERO, Duration::from_secs(1)..=Duration::from_secs(7200));
        faults.check("origins", true, "never said");
        let found: Vec<_> = faults.found().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["gateway.topics_max: must be 1 to 10, is 0", "gateway.idle_timeout: must be 1s to 2h, is 0s"]
        );
    }
}
