//! One node, with TLS and passwords, and one migrated keyspace for all tests that need no more. Their ids are random.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use roost_harness::cassandra::{Cassandra, network};
use roost_storage::scylla::{Consistency, ScyllaConfig, ScyllaStorage, migrate};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::certificates::certificates;
use super::cql::Cql;

/// What chats.pending_ttl is by default.
pub(crate) const PENDING_TTL: Duration = Duration::from_hours(30 * 24);

pub(crate) struct Shared {
    /// How to use the keyspace.
    pub(crate) config: ScyllaConfig,
    /// The keyspace, open. Its tasks live on a runtime of its own: each test's ends with the test.
    pub(crate) storage: ScyllaStorage,
    /// The keyspace without the backend.
    pub(crate) cql: Cql,
    pub(crate) files: TempDir,
    _runtime: Runtime,
    _server: Cassandra,
}

impl Shared {
    /// For another keyspace.
    pub(crate) fn config(&self, keyspace: &str) -> ScyllaConfig {
        ScyllaConfig { keyspace: keyspace.into(), ..self.config.clone() }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start() -> Result<Self, String> {
        let (network, files) = (network(), tempfile::tempdir().unwrap());
        certificates(files.path(), &network)?;
        let server = Cassandra::start(network, 1, &["--password", "--tls", files.path().to_str().unwrap()])?;
        let password_file = files.path().join("password");
        std::fs::write(&password_file, "cassandra\n").unwrap();
        let config = ScyllaConfig {
            username: Some("cassandra".into()),
            password_file: Some(password_file),
            ca_file: Some(files.path().join("ca.pem")),
            consistency: Consistency::LocalQuorum,
            ..super::config(&server, "roost")
        };
        let runtime = Runtime::new().unwrap();
        let (storage, cql) = runtime.block_on(async {
            migrate(&config, false).await.unwrap();
            (ScyllaStorage::open(&config, PENDING_TTL).await.unwrap(), Cql::connect(&config).await)
        });
        Ok(Self { config, storage, cql, files, _runtime: runtime, _server: server })
    }
}

/// Started by the first test that asks. When it can not be, every test says why.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
    // On a thread of its own: a runtime can not be made and waited for within another.
    let started = SHARED.get_or_init(|| {
        std::thread::spawn(Shared::start).join().unwrap_or_else(|_| Err("the shared server did not start".into()))
    });
    started.as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}
