//! A real node: the built binary as a child process on loopback, on ports of its own choice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use crate::StartFailure;
use crate::client::Connect;
use crate::http::{self, Answer};
use crate::process::{Process, until_ready};

/// How a node is started. Can be started again and again: each time is a new life on the same data.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    binary: PathBuf,
    data: PathBuf,
    environment: BTreeMap<String, String>,
    listen: String,
    file_kib_max: Option<u64>,
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

    fn spawn(&self) -> Process {
        let mut command = self.command();
        command.arg("--data").arg(&self.data).args(["--listen", &self.listen, "--api-listen", "127.0.0.1:0"]);
        Process::start(command, &self.data.with_extension("log"))
    }

    /// Starts it and kills it after `lifetime`, wherever in its start it then is.
    pub async fn start_and_kill(&self, lifetime: Duration) {
        let process = self.spawn();
        tokio::time::sleep(lifetime).await;
        process.kill_9();
    }

    /// Starts it and waits until it says where it listens and is ready.
    ///
    /// # Errors
    /// [`StartFailure`] when it ends instead.
    ///
    /// # Panics
    /// When it neither listens nor ends in time.
    pub async fn start(&self) -> Result<Node, StartFailure> {
        let mut process = self.spawn();
        let [address, api] = process.addresses(["listening on http://", "internal API on http://"]).await?;
        until_ready(api).await;
        Ok(Node { options: self.clone(), process, address, api })
    }
}

/// A running node. Dropping it kills it and waits for its end; its log is shown when the test has failed.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    process: Process,
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
        self.process.start_text()
    }

    /// What it and its earlier lives have logged.
    pub fn log(&self) -> String {
        self.process.log()
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
        let mut command = Command::new(&self.options.binary);
        command.env_clear().current_dir(self.options.home());
        print_token(command.arg("token").args(arguments).arg("--data").arg(&self.options.data))
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
        http::api(self.api, key.trim(), method, path, &body).await
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

    /// Sends it a signal by name, as `TERM`.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends it at once, without any chance to tidy up.
    pub fn kill_9(self) {
        self.process.kill_9();
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn terminate(self) -> ExitStatus {
        self.process.terminate().await
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(self) -> ExitStatus {
        self.process.ended().await
    }

    /// How it ended; nothing while it runs.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.process.try_wait()
    }
}

/// Runs `roost token`.
///
/// # Panics
/// When the tool fails or prints anything but the token.
pub(crate) fn print_token(command: &mut Command) -> String {
    let output = command.output().expect("the binary can be started");
    let text = String::from_utf8(output.stdout).expect("a token is text");
    assert!(output.status.success(), "roost token failed: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches(char::is_whitespace).count(), 1, "not just a token and a line end: {text:?}");
    text.trim_end().to_owned()
}
