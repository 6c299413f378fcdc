//! Real servers, started for the tests on free ports of loopback, each in a directory of its own.
//!
//! A shell holds each server: it ends the server, by its id, when its own standard input closes, which is when the
//! [`Server`] is dropped or this process ends, however it does.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Which server software.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Software {
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
        let fetched = cache().join("bin").join(name);
        assert!(fetched.exists(), "there is no {}: run `make tools`", fetched.display());
        fetched
    }
}

#[expect(clippy::disallowed_methods, reason = "where the tools are, as deploy/dev/tools.sh says")]
fn cache() -> PathBuf {
    let within = |name, below: &str| std::env::var(name).ok().map(|dir| Path::new(&dir).join(below));
    let cache = within("ROOST_CACHE", "").or_else(|| within("XDG_CACHE_HOME", "roost"));
    cache.or_else(|| within("HOME", ".cache/roost")).expect("there is a home directory")
}

/// A port that nobody listens on, and that no other test of this process was given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if given.insert(port) {
            return port;
        }
    }
}

/// A running server.
pub(crate) struct Server {
    software: Software,
    pub(crate) port: u16,
    dir: PathBuf,
    arguments: Vec<String>,
    tls: bool,
    password: Option<String>,
    process: Option<Process>,
}

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
    /// Starts one with these settings besides those every test wants.
    pub(crate) fn start(software: Software, settings: &[&str]) -> Self {
        Self::prepare(software, settings, None).running()
    }

    fn prepare(software: Software, settings: &[&str], password: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("roost-redis-").tempdir().unwrap().keep();
        let port = free_port();
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

    /// A Sentinel that watches one primary as `main`, by its word alone.
    pub(crate) fn start_sentinel(software: Software, primary: u16) -> Self {
        let dir = tempfile::Builder::new().prefix("roost-redis-").tempdir().unwrap().keep();
        let port = free_port();
        let configuration = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        );
        std::fs::write(dir.join("sentinel.conf"), configuration).unwrap();
        let arguments = vec!["sentinel.conf".to_owned(), "--sentinel".to_owned()];
        Self { software, port, dir, arguments, tls: false, password: None, process: None }.running()
    }

    fn running(mut self) -> Self {
        self.run();
        self
    }

    /// One whose default user has a password.
    pub(crate) fn start_with_password(software: Software, password: &str) -> Self {
        Self::prepare(software, &["--requirepass", password], Some(password)).running()
    }

    fn run(&mut self) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SHELL, "sh"]).arg(self.software.program()).args(&self.arguments);
        shell.current_dir(&self.dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.process = Some(Process { shell, pid: pid.trim().parse().unwrap() });
        eventually("the server answers", || {
            let answers = |answer: String| !answer.contains("LOADING");
            if self.tls {
                return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            }
            self.ask("PING").is_ok_and(answers)
        });
    }

    /// `kill -9`. What it had written stays in its directory.
    pub(crate) fn kill(&mut self) {
        let process = self.process.as_mut().expect("it runs");
        signal("-9", process.pid);
        eventually("the server is gone", || TcpStream::connect(("127.0.0.1", self.port)).is_err());
    }

    /// Starts it again after [`Server::kill`], with what it had written.
    pub(crate) fn start_again(&mut self) {
        let process = self.process.take().expect("it ran");
        // Its shell would delete the directory: it only waits, so it is ended first.
        signal("-9", process.shell.id());
        let mut shell = process.shell;
        shell.wait().unwrap();
        self.run();
    }

    /// Stops it from doing anything, until [`Server::resume`].
    pub(crate) fn pause(&self) {
        signal("-STOP", self.process.as_ref().expect("it runs").pid);
    }

    /// Ends [`Server::pause`].
    pub(crate) fn resume(&self) {
        signal("-CONT", self.process.as_ref().expect("it runs").pid);
    }

    /// Makes it fail to save, as a full disk does, or lets it save again.
    pub(crate) fn let_save(&self, can: bool) {
        // A directory of that name cannot be replaced by the file.
        let file = self.dir.join("dump.rdb");
        if can {
            std::fs::remove_dir(file).unwrap();
        } else {
            std::fs::create_dir(file).unwrap();
        }
        let status = if can { "rdb_last_bgsave_status:ok" } else { "rdb_last_bgsave_status:err" };
        self.command("BGSAVE");
        eventually("the save ends", || self.command("INFO persistence").contains(status));
    }

    /// Sends a command, its words separated by spaces, and returns its answer, lists one element a line.
    pub(crate) fn command(&self, command: &str) -> String {
        let answer = self.ask(command).unwrap();
        assert!(!answer.starts_with("-"), "{command}: {answer}");
        answer
    }

    /// The same, of which errors are answers, too.
    pub(crate) fn ask(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some(password) = &self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes())?;
            read_answer(&mut reader)?;
        }
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        read_answer(&mut reader)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // A paused server would not go, and the shell waits for it.
            signal("-CONT", process.pid);
            drop(process.shell.stdin.take());
            process.shell.wait().unwrap();
        }
    }
}

fn signal(name: &str, pid: u32) {
    // An error says that it is gone already.
    let _ = Command::new("kill").args([name, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

/// One answer of the protocol, flat: errors begin with `-`, list elements are lines.
fn read_answer(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    let Some((kind, rest)) = line.split_at_checked(1) else { return Err(std::io::ErrorKind::UnexpectedEof.into()) };
    let length = || rest.parse::<i64>().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData));
    match kind {
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok("nil".to_owned()) };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
        }
        "*" => {
            let elements: Result<Vec<_>, _> = (0..length()?.max(0)).map(|_| read_answer(reader)).collect();
            Ok(elements?.join("\n"))
        }
        "-" => Ok(line.to_owned()),
        _ => Ok(rest.to_owned()),
    }
}

/// Repeats `check` until it holds, for at most 30 seconds: servers start slowly on a busy machine.
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}
