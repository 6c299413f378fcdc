//! Connecting.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, MetadataError, NewSessionError,
    UseKeyspaceError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement;

use super::config::{self, Consistency, ScyllaConfig};
use super::error::ScyllaError;
use super::tls;

/// How often an idle connection is tried, and how long that may take: a link that is cut is noticed within twice this.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Connects, with `request_timeout` as the limit of each request, and uses the keyspace if there must be one.
pub(super) async fn connect(
    config: &ScyllaConfig,
    keyspace: Option<&str>,
    request_timeout: Duration,
) -> Result<Session, ScyllaError> {
    let profile = profile(config, request_timeout);
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .default_execution_profile_handle(profile.into_handle())
        .connection_timeout(config.connect_timeout)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .keyspaces_to_fetch([&config.keyspace])
        .fetch_full_schema_metadata(false);
    if let (Some(username), Some(file)) = (&config.username, &config.password_file) {
        let password = config::read_password(file);
        let password = password.map_err(|problem| ScyllaError::File { key: "scylla.password_file", problem })?;
        builder = builder.user(username, password);
    }
    if let Some(file) = &config.ca_file {
        let unusable = |problem| ScyllaError::File { key: "scylla.ca_file", problem };
        let client = tls::client(tls::authorities(file).map_err(unusable)?);
        builder = builder.tls_context(Some(client.map_err(|error| unusable(error.to_string()))?));
    }
    if let Some(keyspace) = keyspace {
        builder = builder.use_keyspace(keyspace, true);
    }
    let session = builder.build().await.map_err(|error| not_connected(config, error))?;
    check_datacenter(config, &session)?;
    Ok(session)
}

fn profile(config: &ScyllaConfig, request_timeout: Duration) -> ExecutionProfile {
    let nodes = DefaultPolicy::builder()
        .prefer_datacenter(config.local_datacenter.clone())
        .token_aware(true)
        .permit_dc_failover(false)
        .build();
    // A node that hangs is not waited for when another one can answer.
    let another = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: request_timeout / 4 };
    ExecutionProfile::builder()
        .consistency(match config.consistency {
            Consistency::LocalQuorum => statement::Consistency::LocalQuorum,
            Consistency::Quorum => statement::Consistency::Quorum,
            Consistency::LocalOne => statement::Consistency::LocalOne,
            Consistency::One => statement::Consistency::One,
        })
        .request_timeout(Some(request_timeout))
        .load_balancing_policy(nodes)
        .speculative_execution_policy(Some(Arc::new(another)))
        .build()
}

fn not_connected(config: &ScyllaConfig, error: NewSessionError) -> ScyllaError {
    match error {
        NewSessionError::UseKeyspaceError(UseKeyspaceError::RequestError(error)) => {
            ScyllaError::NoKeyspace { keyspace: config.keyspace.clone(), source: Box::new(error) }
        }
        error if is_authentication(&error) => ScyllaError::Refused { source: Box::new(error) },
        error => ScyllaError::Unreachable { nodes: config.nodes.join(", "), source: Box::new(error) },
    }
}

/// Whether the last node that was tried does not know the user or the password, or wants one.
fn is_authentication(error: &NewSessionError) -> bool {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: ConnectionError::ConnectionSetupRequestError(refused),
    })) = error
    else {
        return false;
    };
    matches!(
        refused.get_error(),
        ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _)
            | ConnectionSetupRequestErrorKind::MissingAuthentication
    )
}

/// With a wrong name the driver finds no node for any request, and does not say why.
fn check_datacenter(config: &ScyllaConfig, session: &Session) -> Result<(), ScyllaError> {
    let state = session.get_cluster_state();
    let mut found: Vec<_> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect();
    if found.contains(&config.local_datacenter) {
        return Ok(());
    }
    found.sort();
    found.dedup();
    Err(ScyllaError::NoDatacenter { datacenter: config.local_datacenter.clone(), found: found.join(", ") })
}
