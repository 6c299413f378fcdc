//! Real Apache Cassandra nodes, which stand in for ScyllaDB. `deploy/dev/cassandra.sh` starts them; the program is the one
//! that `make tools` fetches.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/dev/cassandra.sh");
/// Where nodes listen: for clients, and for each other.
const PORTS: [u16; 2] = [9042, 7000];

/// Nodes, stopped when this is dropped or the process ends, however it ends: the script stops them when its input ends.
#[derive(Debug)]
pub struct Cassandra {
    script: Child,
    dir: PathBuf,
    /// The first three bytes of the nodes' addresses.
    network: String,
    nodes: usize,
}

/// Loopback addresses that nobody uses: the first three bytes of them.
pub fn network() -> String {
    loop {
        let network = format!("127.{}.{}", rand::random_range(1..=250), rand::random_range(1..=250));
        if PORTS.iter().all(|port| TcpListener::bind(format!("{network}.1:{port}")).is_ok()) {
            return network;
        }
    }
}

impl Cassandra {
    /// Starts nodes in a [`network`] and waits for them. `options` are the script's: `--sync batch` lets what was
    /// answered survive [`Cassandra::kill`].
    ///
    /// # Errors
    /// A sentence, naming `make tools` when there is no such program.
    pub fn start(network: String, nodes: usize, options: &[&str]) -> Result<Self, String> {
        let dir = std::env::temp_dir().join(format!("roost-cassandra-{network}"));
        let mut script = Command::new(SCRIPT)
            .arg("run")
            .arg(&dir)
            .args(["--network", &network, "--nodes", &nodes.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{SCRIPT} can not be run: {error}"))?;
        let mut line = String::new();
        let mut output = BufReader::new(script.stdout.take().expect("stdout is a pipe"));
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        if line.trim() != "ready" {
            let mut problem = String::new();
            drop(script.stdin.take());
            let mut errors = script.stderr.take().expect("stderr is a pipe");
            errors.read_to_string(&mut problem).map_err(|error| error.to_string())?;
            script.wait().map_err(|error| error.to_string())?;
            return Err(format!("no Cassandra to test with: {}", problem.trim()));
        }
        Ok(Self { script, dir, network, nodes })
    }

    /// All nodes' addresses, with their ports.
    pub fn nodes(&self) -> Vec<String> {
        (1..=self.nodes).map(|node| format!("{}.{node}:{}", self.network, PORTS[0])).collect()
    }

    /// `kill -9`. Nodes are counted from 1.
    pub fn kill(&self, node: usize) {
        self.control("kill", node);
    }

    /// Starts a killed node again, and returns when it answers and the others see it.
    pub fn restart(&self, node: usize) {
        self.control("restart", node);
    }

    /// Stops a node from doing anything (`SIGSTOP`), until [`Cassandra::resume`].
    pub fn pause(&self, node: usize) {
        self.signal("-STOP", node);
    }

    /// Ends [`Cassandra::pause`].
    pub fn resume(&self, node: usize) {
        self.signal("-CONT", node);
    }

    fn signal(&self, name: &str, node: usize) {
        let pid = std::fs::read_to_string(self.dir.join(node.to_string()).join("pid")).expect("the node was started");
        let sent = Command::new("kill").args([name, pid.trim()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "node {node} takes {name}");
    }

    fn control(&self, command: &str, node: usize) {
        let done = Command::new(SCRIPT).arg(command).arg(&self.dir).arg(node.to_string()).output();
        let done = done.expect("the script runs, as it did before");
        assert!(done.status.success(), "{command} {node}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        self.script.wait().expect("the script can be waited for");
    }
}
