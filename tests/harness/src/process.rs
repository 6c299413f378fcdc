//! One life of the built binary as a child process: what it printed and logged, and how it ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Answer, PATIENCE, eventually, request};

/// A process that ended instead of listening.
#[derive(Debug)]
pub struct StartFailure {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// A running process. Dropping it kills it and waits for its end; its log is shown when the test has failed.
#[derive(Debug)]
pub struct Process {
    child: Option<Child>,
    start_text: Arc<Mutex<String>>,
    log: PathBuf,
    /// Where in the log this life begins.
    born_at: u64,
}

impl Process {
    /// Starts `command`; what it logs is added to the file `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let born_at = std::fs::metadata(log).map_or(0, |metadata| metadata.len());
        let stderr = File::options().create(true).append(true).open(log).expect("the log file can be made");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("the binary can be started");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let start_text = Arc::new(Mutex::new(String::new()));
        let text = Arc::clone(&start_text);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { child: Some(child), start_text, log: log.to_owned(), born_at }
    }

    /// Waits until it has said an address behind each of `words`.
    ///
    /// # Errors
    /// [`StartFailure`] when it ends instead.
    ///
    /// # Panics
    /// When it does neither in time.
    pub(crate) async fn addresses<const N: usize>(
        &mut self,
        words: [&str; N],
    ) -> Result<[SocketAddr; N], StartFailure> {
        let started = Instant::now();
        loop {
            let text = self.start_text();
            let found: Vec<_> = words.iter().filter_map(|words| after(&text, words)).collect();
            if let Ok(found) = <[SocketAddr; N]>::try_from(found) {
                return Ok(found);
            }
            if let Some(status) = self.try_wait() {
                let whole = std::fs::read(&self.log).unwrap_or_default();
                let stderr = String::from_utf8_lossy(&whole[self.born_at as usize..]).into_owned();
                return Err(StartFailure { status, stderr });
            }
            assert!(started.elapsed() < PATIENCE, "the process does not say where it listens; it said: {text}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What it has printed to stdout so far.
    pub fn start_text(&self) -> String {
        self.start_text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it and its earlier lives have logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The file of its log.
    pub fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// Sends it a signal by name, as `TERM`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("the process runs").id();
        let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &id.to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "SIG{name} can be sent to the process");
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn terminate(self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(mut self) -> ExitStatus {
        let status = eventually("the process ends", async || self.try_wait()).await;
        self.child = None;
        status
    }

    /// How it ended; nothing while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("the child can be waited for"))
    }

    /// Stops it from doing anything (`SIGSTOP`), until [`Process::resume`].
    ///
    /// # Panics
    /// When it has ended.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Ends [`Process::pause`].
    ///
    /// # Panics
    /// When it has ended.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends it at once, without any chance to tidy up.
    pub fn kill_9(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the child can be killed");
            child.wait().expect("the child can be waited for");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            let (name, mut stderr) = (self.log.display(), std::io::stderr());
            stderr.write_all(format!("--- {name} ends:\n{tail}\n").as_bytes()).expect("stderr is open");
        }
    }
}

/// Waits until `/readyz` answers 200.
///
/// # Panics
/// When it does not in time.
pub(crate) async fn until_ready(api: SocketAddr) {
    eventually("the process is ready", async || {
        let answer: Answer = request(api, "GET", "/readyz", &[], "").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// The address behind `words` in the start-up text.
fn after(text: &str, words: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once(words)?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !".:[]".contains(c))?;
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_start_up_text() {
        let text = "roost 0.1\n  listening on http://127.0.0.1:4000/socket\n  internal API on http://[::1]:4001\n";
        assert_eq!(after(text, "listening on http://"), Some("127.0.0.1:4000".parse().unwrap()));
        assert_eq!(after(text, "internal API on http://"), Some("[::1]:4001".parse().unwrap()));
        assert_eq!(after(text, "elsewhere on http://"), None);
    }
}
