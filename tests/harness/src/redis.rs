//! Real Redis and Valkey servers as child processes, on free ports of loopback, each in a directory of its own. The
//! programs are those that `make tools` fetches.
//!
//! A shell holds each server: it ends the server, by its id, when its own standard input closes, which is when the
//! [`Server`] is dropped or this process ends, however it does.

mod answer;
mod arrangements;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::eventually::{eventually_blocking, free_port};
use answer::read_answer;

pub use arrangements::{Cluster, SINGLE, Watched};

/// Which server software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// Redis 7.0.
    Redis,
    /// Valkey 9.
    Valkey,
}

impl Software {
    fn program(self) -> PathBuf {
        let name = match self {
            Self::Redis => "redis-server",
            Self::Valkey => "valkey-server",
        };
        let fetched = cache().join("bin");
        let found =
            std::iter::once(fetched.clone()).chain(search_path()).map(|dir| dir.join(name)).find(|it| it.exists());
        found.unwrap_or_else(|| panic!("there is no {name} in {} or on PATH: run `make tools`", fetched.display()))
    }
}

#[expect(clippy::disallowed_methods, reason = "where the tools are, as deploy/dev/tools.sh says")]
fn cache() -> PathBuf {
    let within = |name, below: &str| std::env::var(name).ok().map(|dir| Path::new(&dir).join(below));
    let cache = within("ROOST_CACHE", "").or_else(|| within("XDG_CACHE_HOME", "roost"));
    cache.or_else(|| within("HOME", ".cache/roost")).expect("there is a home directory")
}

/// A tool that a machine has is used as it is, and then not fetched.
#[expect(clippy::disallowed_methods, reason = "where the tools are, as deploy/dev/tools.sh says")]
fn search_path() -> Vec<PathBuf> {
    std::env::var("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// A running server. Dropping it kills it and deletes its directory.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, on 127.0.0.1. The same over all its lives.
    pub port: u16,
    software: Software,
    dir: PathBuf,
    arguments: Vec<String>,
    tls: bool,
    password: Option<String>,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    shell: Child,
    pid: u32,
}

const SHELL: &str = r#"
    "$@" >>log 2>&1 </dev/null &
    pid=$!
    echo $pid
    read -r _
    kill -9 $pid
    wait $pid
    case $PWD in */roost-redis-*) cd / ;; *) exit 1 ;; esac
    # A child that rewrites the file lives on for a moment and may write there.
    for _ in 1 2 3 4 5; do rm -rf "$OLDPWD" && break; sleep 0.2; done
"#;

impl Server {
    /// Starts one with these settings besides those every test wants, and waits until it answers. `PORT` within a
    /// setting stands for its port; with `--tls-port` among them it listens on that alone.
    ///
    /// # Panics
    /// When there is no such program, naming `make tools`, or it does not answer.
    pub fn start(software: Software, settings: &[&str]) -> Self {
        Self::prepare(software, settings, None).running()
    }

    /// One whose default user has a password, which [`Server::command`] gives.
    pub fn start_with_password(software: Software, password: &str) -> Self {
        Self::prepare(software, &["--requirepass", password], Some(password)).running()
    }

    /// A Sentinel that watches one primary as `main`, by its word alone.
    pub fn start_sentinel(software: Software, primary: u16) -> Self {
        let (dir, port) = (directory(), free_port());
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        );
        std::fs::write(dir.join("sentinel.conf"), configuration).expect("its directory can be written to");
        let arguments = vec!["sentinel.conf".to_owned(), "--sentinel".to_owned()];
        Self { software, port, dir, arguments, tls: false, password: None, process: None }.running()
    }

    fn prepare(software: Software, settings: &[&str], password: Option<&str>) -> Self {
        let (dir, port) = (directory(), free_port());
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", ""].iter().map(|text| (*text).to_owned()).collect();
        let tls = settings.contains(&"--tls-port");
        if !tls {
            arguments.extend(["--port".to_owned(), port.to_string()]);
        }
        arguments.extend(settings.iter().map(|text| text.replace("PORT", &port.to_string())));
        let password = password.map(ToOwned::to_owned);
        Self { software, port, dir, arguments, tls, password, process: None }
    }

    fn running(mut self) -> Self {
        self.run();
        self
    }

    fn run(&mut self) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SHELL, "sh"]).arg(self.software.program()).args(&self.arguments);
        shell.current_dir(&self.dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("there is a shell");
        let mut pid = String::new();
        let output = shell.stdout.take().expect("stdout is a pipe");
        BufReader::new(output).read_line(&mut pid).expect("the shell says the id");
        self.process = Some(Process { shell, pid: pid.trim().parse().expect("an id is a number") });
        eventually_blocking("the server answers", || {
            let answers = |answer: String| !answer.contains("LOADING");
            if self.tls {
                return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            }
            self.ask("PING").is_ok_and(answers)
        });
    }

    /// As a URL of one server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// `kill -9`; returns when its port is free. What it had written stays in its directory.
    pub fn kill(&mut self) {
        self.signal("-9");
        eventually_blocking("the server is gone", || TcpStream::connect(("127.0.0.1", self.port)).is_err());
    }

    /// Starts it again after [`Server::kill`], on the same port, with what it had written.
    ///
    /// # Panics
    /// When it never ran.
    pub fn start_again(&mut self) {
        let mut process = self.process.take().expect("it ran");
        // Its shell would delete the directory: it only waits, so it is ended first.
        signal("-9", process.shell.id());
        process.shell.wait().expect("the shell can be waited for");
        self.run();
    }

    /// Stops it from doing anything (`SIGSTOP`), until [`Server::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Ends [`Server::pause`].
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        signal(name, self.process.as_ref().expect("it runs").pid);
    }

    /// Makes it fail to save, as a full disk does, or lets it save again. It needs a `save` setting to mind.
    pub fn let_save(&self, can: bool) {
        // A directory of that name cannot be replaced by the file.
        let file = self.dir.join("dump.rdb");
        let changed = if can { std::fs::remove_dir(file) } else { std::fs::create_dir(file) };
        changed.expect("its directory can be changed");
        let status = if can { "rdb_last_bgsave_status:ok" } else { "rdb_last_bgsave_status:err" };
        self.command("BGSAVE");
        eventually_blocking("the save ends", || self.command("INFO persistence").contains(status));
    }

    /// Sends a command, its words separated by spaces, and returns its answer, lists one element a line.
    ///
    /// # Panics
    /// When the answer is an error, or there is none.
    pub fn command(&self, command: &str) -> String {
        let answer = self.ask(command).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(!answer.starts_with('-'), "{command}: {answer}");
        answer
    }

    /// The same, of which errors, which begin with `-`, are answers, too.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&self, command: &str) -> std::io::Result<String> {
        ask(self.port, self.password.as_deref(), command)
    }
}

/// Asks the server at this port of loopback, whoever runs it.
pub(crate) fn ask(port: u16, password: Option<&str>, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Some(password) = password {
        stream.write_all(format!("AUTH {password}\r\n").as_bytes())?;
        read_answer(&mut reader)?;
    }
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    read_answer(&mut reader)
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A paused server would not go, and the shell waits for it.
            signal("-CONT", process.pid);
            drop(process.shell.stdin.take());
            process.shell.wait().expect("the shell can be waited for");
        }
    }
}

/// Its shell deletes it.
fn directory() -> PathBuf {
    let made = tempfile::Builder::new().prefix("roost-redis-").tempdir();
    made.expect("a directory can be made").keep()
}

fn signal(name: &str, pid: u32) {
    // A failure says that it is gone already.
    let _gone = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status().expect("kill runs");
}
