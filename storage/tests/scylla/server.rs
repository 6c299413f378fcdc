//! Cassandra nodes of this test process.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use roost_storage::scylla::{Replication, ScyllaConfig};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/dev/cassandra.sh");

/// Nodes, stopped when this is dropped or the process ends, however it ends: the script stops them when its input ends.
pub(crate) struct Cassandra {
    script: Child,
    dir: PathBuf,
    /// The first three bytes of the nodes' addresses.
    network: String,
    nodes: usize,
}

/// Loopback addresses that nobody else is likely to use.
pub(crate) fn network() -> String {
    format!("127.{}.{}", rand::random_range(1..=250), rand::random_range(1..=250))
}

impl Cassandra {
    /// Starts nodes in a network and waits for them. The error is a sentence.
    pub(crate) fn start(network: String, nodes: usize, options: &[&str]) -> Result<Self, String> {
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
        let mut output = BufReader::new(script.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            let mut problem = String::new();
            drop(script.stdin.take());
            script.stderr.take().unwrap().read_to_string(&mut problem).unwrap();
            script.wait().unwrap();
            return Err(format!("no Cassandra to test with: {}", problem.trim()));
        }
        Ok(Self { script, dir, network, nodes })
    }

    /// All nodes' addresses.
    pub(crate) fn nodes(&self) -> Vec<String> {
        (1..=self.nodes).map(|node| format!("{}.{node}:9042", self.network)).collect()
    }

    /// How to use them.
    pub(crate) fn config(&self, keyspace: &str) -> ScyllaConfig {
        ScyllaConfig {
            nodes: self.nodes(),
            keyspace: keyspace.into(),
            replication: Replication::Factor(u16::try_from(self.nodes).unwrap()),
            ..ScyllaConfig::default()
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&self, node: usize) {
        self.control("kill", node);
    }

    /// Starts a killed node again, and returns when it answers and the others see it.
    pub(crate) fn restart(&self, node: usize) {
        self.control("restart", node);
    }

    fn control(&self, command: &str, node: usize) {
        let done = Command::new(SCRIPT).arg(command).arg(&self.dir).arg(node.to_string()).output().unwrap();
        assert!(done.status.success(), "{command} {node}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
    }
}

/// A certificate authority, and a certificate of it for the first address of a network: `ca.pem`, `server.pem`.
pub(crate) fn certificates(dir: &Path, network: &str) -> Result<(), String> {
    let elliptic = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (authority, authority_key) = (file("ca.pem"), file("ca.key"));
    let (request, key, certificate) = (file("server.csr"), file("server.key"), file("server.crt"));
    let mut make = vec!["req", "-x509", "-subj", "/CN=test authority", "-days", "2"];
    make.extend(elliptic);
    make.extend(["-keyout", &authority_key, "-out", &authority, "-addext", "keyUsage=critical,keyCertSign"]);
    openssl(&make)?;
    let mut ask = vec!["req", "-subj", "/CN=test server", "-keyout", &key, "-out", &request];
    ask.extend(elliptic);
    openssl(&ask)?;
    let extensions = file("extensions");
    fs::write(&extensions, format!("subjectAltName=IP:{network}.1\nbasicConstraints=critical,CA:FALSE\n")).unwrap();
    let mut sign = vec!["x509", "-req", "-days", "2", "-in", &request, "-out", &certificate, "-extfile", &extensions];
    sign.extend(["-CA", &authority, "-CAkey", &authority_key, "-CAcreateserial"]);
    openssl(&sign)?;
    let parts = [&key, &certificate, &authority].map(|part| fs::read_to_string(part).unwrap());
    fs::write(dir.join("server.pem"), parts.concat()).unwrap();
    Ok(())
}

fn openssl(arguments: &[&str]) -> Result<(), String> {
    let done = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("openssl, which makes the certificates, can not be run: {error}"))?;
    let problem = || format!("openssl {}: {}", arguments[0], String::from_utf8_lossy(&done.stderr));
    if done.status.success() { Ok(()) } else { Err(problem()) }
}
