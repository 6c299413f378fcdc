//! A real node: the built binary as a child process on loopback, on ports of its own choice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Connect;
use crate::http::{self, Answer};
use crate::{PATIENCE, eventually};

/// How a node is started. Can be started again and again: each time is a new life on the same data.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    binary: PathBuf,
    data: PathBuf,
    environment: BTreeMap<String, String>,
    listen: String,
    file_kib_max: Option<u64>,
}

/// A node that ended instead of listening.
#[derive(Debug)]
pub struct StartFailure {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl NodeOptions {
    /// Starts `binary` (pass `env!("CARGO_BIN_EXE_roost")`) on the data directory `data`. Nothing of the environment
    /// is handed on.
    pub fn new(binary: impl Into<PathBuf>, data: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            data: data.into(),
            environment: BTreeMap::new(),
            listen: "127.0.0.1:0".to_owned(),
            file_kib_max: None,
        }
    }

    /// Sets a configuration key, as `gateway.idle_timeout`, through the environment.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        let name = format!("ROOST_{}", key.to_uppercase().replace('.', "__"));
        self.environment.insert(name, value.to_string());
        self
    }

    /// Listens on a given address instead of any free port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address.to_string();
        self
    }

    /// Lets no file of the node grow beyond `kib`, in units of 1024 bytes: writing fails as on a full disk.
    #[must_use]
    pub fn file_kib_max(mut self, kib: u64) -> Self {
        self.file_kib_max = Some(kib);
        self
    }

    fn command(&self) -> Command {
        let mut command = match self.file_kib_max {
            None => Command::new(&self.binary),
            Some(kib) => {
                // An ignored SIGXFSZ stays ignored over exec, so that write() answers EFBIG. sh counts 512 bytes.
                let mut command = Command::new("sh");
                let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
                command.arg("-c").arg(script).arg(&self.binary);
                command
            }
        };
        command.env_clear().envs(&self.environment).env("PATH", "/usr/bin:/bin").current_dir(self.home());
        command
    }

    fn home(&self) -> &Path {
        self.data.parent().unwrap_or(Path::new("."))
    }

    fn spawn(&self, log: &Path) -> Child {
        let stderr = File::options().create(true).append(true).open(log).expect("the log file can be made");
        self.command()
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", &self.listen, "--api-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the binary can be started")
    }

    /// Starts it and kills it after `lifetime`, wherever in its start it then is.
    pub async fn start_and_kill(&self, lifetime: Duration) {
        let mut child = self.spawn(&self.data.with_extension("log"));
        tokio::time::sleep(lifetime).await;
        child.kill().expect("the child can be killed");
        child.wait().expect("the child can be waited for");
    }

    /// Starts it and waits until it says where it listens and is ready.
    ///
    /// # Errors
    /// [`StartFailure`] when it ends instead.
    ///
    /// # Panics
    /// When it neither listens nor ends in time.
    pub async fn start(&self) -> Result<Node, StartFailure> {
        let log = self.data.with_extension("log");
        let stderr_from = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        let mut child = self.spawn(&log);
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
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node =
            Node { options: self.clone(), child: Some(child), start_text, log, address: nowhere, api: nowhere };
        let started = Instant::now();
        loop {
            let text = node.start_text();
            if let (Some(address), Some(api)) =
                (after(&text, "listening on http://"), after(&text, "internal API on http://"))
            {
                (node.address, node.api) = (address, api);
                break;
            }
            if let Some(status) = node.try_wait() {
                let whole = std::fs::read(&node.log).unwrap_or_default();
                let stderr = String::from_utf8_lossy(&whole[stderr_from as usize..]).into_owned();
                return Err(StartFailure { status, stderr });
            }
            assert!(started.elapsed() < PATIENCE, "the node does not say where it listens; it said: {text}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        node.is_ready().await;
        Ok(node)
    }
}

/// The address behind `words` in the start-up text.
fn after(text: &str, words: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once(words)?;
    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && !".:[]".contains(c))?;
    rest[..end].trim_end_matches(['.', ':']).parse().ok()
}

/// A running node. Dropping it kills it and waits for its end; its log is shown when the test has failed.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    child: Option<Child>,
    start_text: Arc<Mutex<String>>,
    log: PathBuf,
    address: SocketAddr,
    api: SocketAddr,
}

impl Node {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the internal API listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api
    }

    /// What it has printed to stdout so far.
    pub fn start_text(&self) -> String {
        self.start_text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it and its earlier lives have logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    async fn is_ready(&self) {
        eventually("the node is ready", async || {
            let answer = http::request(self.api, "GET", "/readyz", &[], "").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// A token made by `roost token` with the data directory's key.
    pub fn token(&self, user: &str, device: &str) -> String {
        self.token_for(&["--user", user, "--device", device])
    }

    /// A token made by `roost token` with these arguments.
    ///
    /// # Panics
    /// When the tool fails or prints anything but the token.
    pub fn token_for(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.options.binary)
            .env_clear()
            .current_dir(self.options.home())
            .arg("token")
            .args(arguments)
            .arg("--data")
            .arg(&self.options.data)
            .output()
            .expect("the binary can be started");
        let text = String::from_utf8(output.stdout).expect("a token is text");
        assert!(output.status.success(), "roost token failed: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.matches(char::is_whitespace).count(), 1, "not just a token and a line end: {text:?}");
        text.trim_end().to_owned()
    }

    /// A connection of `user`'s `device`, to be opened.
    pub fn connect(&self, user: &str, device: &str) -> Connect {
        Connect::new(self.address, user, device, &self.token(user, device))
    }

    /// Calls the internal API with its key.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> Answer {
        let key = std::fs::read_to_string(self.options.data.join("api.key")).expect("api.key is there");
        let header = format!("authorization: Bearer {}", key.trim());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::request(self.api, method, path, &[header], &body).await.expect("the API answers")
    }

    /// Makes a chat with these members.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn create_chat(&self, chat: &str, members: &[&str]) {
        let answer = self.api("PUT", &format!("/v1/chats/{chat}"), serde_json::json!({ "members": members })).await;
        assert!((200..300).contains(&answer.status), "chat {chat} was not made: {answer:?}");
    }

    /// The node's metrics.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn metrics(&self) -> Answer {
        http::request(self.api, "GET", "/metrics", &[], "").await.expect("the node answers")
    }

    fn id(&self) -> u32 {
        self.child.as_ref().expect("the node runs").id()
    }

    /// Sends it a signal by name, as `TERM`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &self.id().to_string()]).status();
        assert!(kill.is_ok_and(|status| status.success()), "SIG{name} can be sent to the node");
    }

    /// Ends it at once, without any chance to tidy up.
    pub fn kill_9(mut self) {
        self.end();
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
        let status = eventually("the node ends", async || self.try_wait()).await;
        self.child = None;
        status
    }

    /// How it ended; nothing while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("the child can be waited for"))
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the child can be killed");
            child.wait().expect("the child can be waited for");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            std::io::Write::write_all(&mut std::io::stderr(), format!("--- the node's log ends:\n{tail}\n").as_bytes())
                .expect("stderr is open");
        }
    }
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
