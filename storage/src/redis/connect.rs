//! Opening connections: authentication, TLS, and whether the server at the other end may be used.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisConnectionInfo,
    RedisError, TlsCertificates, Value,
};

use super::config::{Durability, RedisConfig};
use super::endpoint::{Address, Endpoint};
use super::error::{Fault, OpenError, Unfit, answered};
use super::files::Files;
use super::records::{text, texts};
use super::scripts::{Digests, load_commands};

/// Opens connections.
pub(super) struct Connector {
    username: Option<String>,
    password: Option<String>,
    sentinel_password: Option<String>,
    database: i64,
    tls: bool,
    certificates: TlsCertificates,
    pub(super) command_timeout: Duration,
    pub(super) durability: Durability,
    allowed_eviction_policy: Option<String>,
}

/// A connection that runs scripts.
pub(super) struct Prepared {
    pub(super) connection: MultiplexedConnection,
    pub(super) digests: Digests,
    pub(super) server: Server,
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Another one after every restart.
    pub(super) run_id: String,
    /// Whether it can say what is in its append-only file.
    pub(super) has_waitaof: bool,
    pub(super) eviction_policy: String,
    version: String,
    is_primary: bool,
    is_loading: bool,
    writes_append_only_file: bool,
}

impl Connector {
    /// Reads the files that the configuration names.
    pub(super) fn new(config: &RedisConfig, endpoint: &Endpoint) -> Result<Self, OpenError> {
        let files = Files::read(config)?;
        if endpoint.tls {
            // One crypto library in the build; an error says that the process has chosen already.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        Ok(Self {
            username: endpoint.username.clone(),
            password: files.password.or_else(|| endpoint.password.clone()),
            sentinel_password: files.sentinel_password,
            database: endpoint.database,
            tls: endpoint.tls,
            certificates: TlsCertificates { client_tls: None, root_cert: files.authorities },
            command_timeout: config.command_timeout,
            durability: config.durability,
            allowed_eviction_policy: config.allow_eviction_policy.clone(),
        })
    }

    /// A connection to a primary that runs scripts, each answer within `response_timeout`.
    pub(super) async fn prepare(&self, address: &Address, response_timeout: Duration) -> Result<Prepared, Fault> {
        let mut connection = self.connect(address, response_timeout).await?;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(info());
        for command in load_commands() {
            pipeline.add_command(command);
        }
        let mut answers = send(&mut connection, &pipeline).await?.into_iter();
        let server = Server::from_info(answers.next().unwrap_or_default())?;
        self.check(&server)?;
        if self.durability == Durability::Aof && !server.has_waitaof {
            check_sync(&mut connection).await?;
        }
        let digests = Digests::from_answers(answers.collect());
        let digests = digests.map_err(|answer| answered(answer).err().unwrap_or(Fault::Answer("SCRIPT LOAD")))?;
        Ok(Prepared { connection, digests, server })
    }

    /// A connection for one reader that waits. Its response timeout is set by the reader, per read.
    pub(super) async fn connect_reader(&self, address: &Address) -> Result<(MultiplexedConnection, Server), Fault> {
        let mut connection = self.connect(address, self.command_timeout).await?;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(info());
        let answer = send(&mut connection, &pipeline).await?.pop().unwrap_or_default();
        let server = Server::from_info(answer)?;
        self.check(&server)?;
        Ok((connection, server))
    }

    /// A bare connection, to any server.
    pub(super) async fn connect(&self, address: &Address, wait: Duration) -> Result<MultiplexedConnection, Fault> {
        let settings = self.authenticated(self.username.as_deref(), self.password.as_deref()).set_db(self.database);
        self.open(address, settings, wait).await
    }

    /// A bare connection to a Sentinel, which has a password of its own.
    pub(super) async fn connect_sentinel(&self, address: &Address) -> Result<MultiplexedConnection, Fault> {
        let settings = self.authenticated(None, self.sentinel_password.as_deref());
        self.open(address, settings, self.command_timeout).await
    }

    /// A connection for subscriptions.
    pub(super) async fn connect_subscriber(&self, address: &Address) -> Result<PubSub, Fault> {
        let settings = self.authenticated(self.username.as_deref(), self.password.as_deref());
        let client = self.client(address, settings)?;
        self.within(client.get_async_pubsub()).await
    }

    async fn open(
        &self,
        address: &Address,
        settings: RedisConnectionInfo,
        wait: Duration,
    ) -> Result<MultiplexedConnection, Fault> {
        let client = self.client(address, settings)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.command_timeout))
            .set_response_timeout(Some(wait));
        self.within(client.get_multiplexed_async_connection_with_config(&config)).await
    }

    fn authenticated(&self, username: Option<&str>, password: Option<&str>) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        if let Some(username) = username {
            settings = settings.set_username(username);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        settings
    }

    fn client(&self, address: &Address, settings: RedisConnectionInfo) -> Result<Client, Fault> {
        let (host, port) = (address.host.clone(), address.port);
        let place = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(5));
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let info = place.into_connection_info().map_err(Fault::of)?.set_redis_settings(settings).set_tcp_settings(tcp);
        if self.tls {
            Client::build_with_tls(info, self.certificates.clone()).map_err(Fault::of)
        } else {
            Client::open(info).map_err(Fault::of)
        }
    }

    async fn within<T>(&self, connecting: impl Future<Output = Result<T, RedisError>>) -> Result<T, Fault> {
        let connected = tokio::time::timeout(self.command_timeout, connecting).await;
        connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())).map_err(Fault::of)
    }

    /// Whether the server may be used.
    fn check(&self, server: &Server) -> Result<(), Unfit> {
        // Until then what it says about its append-only file is not what it will be.
        if server.is_loading {
            return Err(Unfit::Loading);
        }
        if !server.is_primary {
            return Err(Unfit::Replica);
        }
        let major = server.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < 7) {
            return Err(Unfit::TooOld(server.version.clone()));
        }
        if self.is_eviction_allowed(server).is_none() {
            return Err(Unfit::Evicts(server.eviction_policy.clone()));
        }
        if self.durability == Durability::Aof && !server.writes_append_only_file {
            return Err(Unfit::NoAppendOnlyFile);
        }
        Ok(())
    }

    /// Whether the server may evict and is allowed to; `None` when it may and is not.
    pub(super) fn is_eviction_allowed(&self, server: &Server) -> Option<bool> {
        if server.eviction_policy == "noeviction" {
            return Some(false);
        }
        (self.allowed_eviction_policy.as_ref() == Some(&server.eviction_policy)).then_some(true)
    }
}

impl Server {
    fn from_info(answer: Value) -> Result<Self, Fault> {
        let info = text(answered(answer)?).ok_or(Fault::Answer("INFO"))?;
        let fields: HashMap<_, _> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let field = |name: &str| fields.get(name).copied().ok_or(Fault::Answer("INFO"));
        let version = field("redis_version")?;
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        Ok(Self {
            run_id: field("run_id")?.to_owned(),
            has_waitaof: (numbers.next(), numbers.next()) >= (Some(7), Some(2)),
            eviction_policy: field("maxmemory_policy")?.to_owned(),
            version: version.to_owned(),
            is_primary: field("role")? == "master",
            is_loading: field("loading")? == "1",
            writes_append_only_file: field("aof_enabled")? == "1",
        })
    }
}

/// Without `WAITAOF` an answer proves something only when the server syncs before it answers: with `everysec` it puts
/// even writing off, for up to two seconds, while a sync is under way, and answers all the same.
async fn check_sync(connection: &mut MultiplexedConnection) -> Result<(), Fault> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("CONFIG").arg("GET").arg("appendfsync");
    let answer = answered(send(connection, &pipeline).await?.pop().unwrap_or_default())?;
    match texts(answer).and_then(|mut texts| texts.pop()) {
        Some(policy) if policy == "always" => Ok(()),
        Some(policy) => Err(Unfit::SyncsLate(policy).into()),
        None => Err(Fault::Answer("CONFIG GET")),
    }
}

fn info() -> redis::Cmd {
    let mut command = redis::cmd("INFO");
    command.arg("server").arg("memory").arg("persistence").arg("replication");
    command
}

/// One answer per command; errors among them are answers, too.
pub(super) async fn send(connection: &mut MultiplexedConnection, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
    let answers = connection.req_packed_commands(pipeline, 0, pipeline.len()).await.map_err(Fault::of)?;
    if answers.len() != pipeline.len() {
        return Err(Fault::Answer("a pipeline"));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_describes_itself() {
        let info = |version: &str, role: &str| {
            let text = format!(
                "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\nmaxmemory_policy:allkeys-lru\r\nloading:0\r\naof_enabled:1\r\nrole:{role}\r\n"
            );
            Server::from_info(Value::BulkString(text.into())).unwrap()
        };
        let server = info("7.0.15", "master");
        assert!(server.is_primary && server.writes_append_only_file && !server.has_waitaof);
        assert_eq!((&*server.run_id, &*server.eviction_policy), ("abc", "allkeys-lru"));
        assert!(info("7.2.4", "master").has_waitaof && info("8.0.0", "master").has_waitaof);
        assert!(!info("7.2.4", "slave").is_primary && !server.is_loading);
        assert!(Server::from_info(Value::BulkString("redis_version:7.0".into())).is_err());
    }
}
