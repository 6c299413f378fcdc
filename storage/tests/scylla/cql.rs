//! The same keyspace without the backend: what is stored, and what others could have stored.

use std::sync::Arc;

use roost_storage::scylla::ScyllaConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use scylla::serialize::row::SerializeRow;

pub(crate) struct Cql(Session);

impl Cql {
    pub(crate) async fn connect(config: &ScyllaConfig) -> Self {
        let mut builder = SessionBuilder::new().known_nodes(&config.nodes);
        if let (Some(username), Some(file)) = (&config.username, &config.password_file) {
            builder = builder.user(username, std::fs::read_to_string(file).unwrap().trim());
        }
        if let Some(file) = &config.ca_file {
            let mut authorities = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).unwrap() {
                authorities.add(certificate.unwrap()).unwrap();
            }
            let tls = rustls::ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth();
            builder = builder.tls_context(Some(Arc::new(tls)));
        }
        let session = builder.build().await.unwrap();
        Self(session)
    }

    pub(crate) async fn run(&self, statement: &str, values: impl SerializeRow) {
        self.0.query_unpaged(statement, values).await.unwrap();
    }

    pub(crate) async fn rows<R>(&self, statement: &str, values: impl SerializeRow) -> Vec<R>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let result = self.0.query_unpaged(statement, values).await.unwrap().into_rows_result().unwrap();
        result.rows::<R>().unwrap().map(Result::unwrap).collect()
    }

    /// Names of the columns of a table, sorted.
    pub(crate) async fn columns(&self, keyspace: &str, table: &str) -> Vec<String> {
        let statement = "SELECT column_name FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
        let rows = self.rows::<(String,)>(statement, (keyspace, table)).await;
        rows.into_iter().map(|(name,)| name).collect()
    }

    pub(crate) async fn tables(&self, keyspace: &str) -> Vec<String> {
        let statement = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        self.rows::<(String,)>(statement, (keyspace,)).await.into_iter().map(|(name,)| name).collect()
    }
}
