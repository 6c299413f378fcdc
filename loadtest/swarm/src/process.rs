//! What a process has used, as `/proc` says.

use std::time::Duration;

use anyhow::Context as _;

/// The kernel reports CPU time in hundredths of a second (`USER_HZ`), on every architecture we run on.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Process(String);

impl Process {
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid.to_string())
    }

    /// This one.
    pub(crate) fn own() -> Self {
        Self("self".into())
    }

    fn file(&self, name: &str) -> anyhow::Result<String> {
        let file = format!("/proc/{}/{name}", self.0);
        std::fs::read_to_string(&file).with_context(|| format!("{file} can not be read"))
    }

    /// User and system time so far, all threads.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = self.file("stat")?;
        // Counted behind the name, which may hold anything: utime and stime are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(')').context("stat has a name")?;
        let ticks: Result<Vec<u32>, _> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect();
        Ok(TICK * ticks.context("stat has times")?.iter().sum())
    }

    /// Resident memory in bytes; what the kernel keeps for sockets is not in it.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("status has VmRSS")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")?;
        Ok(kilobytes * 1024)
    }
}

/// The CPU time that this thread has used.
///
/// # Errors
/// When the kernel does not say (it was built without scheduler statistics).
pub(crate) fn thread_cpu() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("no scheduler statistics")?;
    let nanoseconds = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}
