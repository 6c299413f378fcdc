//! Where values come from and which wins, and that every fault is told.

use std::fs;
use std::time::Duration;

use roost_storage::redis::RedisUrl;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

/// What a role of a cluster would start with.
const CLUSTER: [Role; 3] = [Role::Gateway, Role::Fanout, Role::Migrate];

/// A working directory with an environment.
struct Place(TempDir, Surroundings);

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let around = Surroundings { environment: Vec::new(), directory: directory.path().into() };
        Self(directory, around)
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.0.path().join("roost.toml"), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.1.environment.push((name.into(), value.into()));
        self
    }

    fn load(&self, flags: &[Flag]) -> Result<Config, Vec<Fault>> {
        self.load_for(Role::Standalone, flags)
    }

    fn load_for(&self, role: Role, flags: &[Flag]) -> Result<Config, Vec<Fault>> {
        load(role, None, flags, &self.1, Config::faults)
    }

    #[track_caller]
    fn faults(&self, flags: &[Flag]) -> Vec<String> {
        self.load(flags).unwrap_err().iter().map(ToString::to_string).collect()
    }
}

fn listen(value: &str) -> Flag {
    Flag { name: "--listen", key: "gateway.listen", value: value.into() }
}

#[test]
fn with_nothing_given_it_is_the_defaults() {
    assert_eq!(Place::new().load(&[]), Ok(Config::standalone()));
    assert_eq!(Config::standalone().all_faults(Role::Standalone), []);
    assert!(Config::standalone().chats.open_join && !ChatsConfig::default().open_join);
}

#[test]
fn roles_of_a_cluster_are_reached_by_others_and_enrol_nobody() {
    let standalone = Config::standalone();
    for role in CLUSTER {
        let config = Config::of(role);
        assert!(!config.chats.open_join);
        assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:4000");
        assert_eq!(config.gateway.api_listen.to_string(), "0.0.0.0:4001");
        assert_eq!(config.fanout.api_listen.to_string(), "0.0.0.0:4001");
        let same = Config { gateway: standalone.gateway.clone(), chats: standalone.chats.clone(), ..config };
        assert_eq!(same, standalone);
        for (key, cluster) in [("gateway.listen", "0.0.0.0:4000"), ("chats.open_join", "false")] {
            let row = DOCUMENTATION.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).unwrap();
            assert!(row.ends_with(&format!("| `{cluster}` |")), "{row}");
        }
    }
}

#[test]
fn only_a_gateway_needs_keys_and_only_a_cluster_its_backends() {
    let place = Place::new();
    assert_eq!(place.load_for(Role::Fanout, &[]), Ok(Config::of(Role::Fanout)));
    assert_eq!(place.load_for(Role::Migrate, &[]), Ok(Config::of(Role::Migrate)));
    let [fault] = &place.load_for(Role::Gateway, &[]).unwrap_err()[..] else { panic!("one fault") };
    assert_eq!(fault.key, "auth.keys");
    assert!(fault.problem.contains("only standalone makes keys"), "{fault}");

    let place = place.file(
        "[redis]\nurl = 'http://h'\n[scylla]\nnodes = []\n[auth]\nkeys = [{ algorithm = 'HS256', file = '/none' }]",
    );
    assert!(place.load(&[]).is_ok());
    for role in CLUSTER {
        let faults = place.load_for(role, &[]).unwrap_err();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["redis.url", "scylla.nodes"], "{role}");
    }
}

#[test]
fn standalone_refuses_what_it_can_not_read_in_the_sections_of_a_cluster_too() {
    let file = "[redis]\nurls = 'x'\npartitions = 0\ndurability = 'disk'\n[scylla]\nnodes = 'x'\npending_ttl = '1h'";
    let faults = Place::new().file(file).faults(&[]);
    let keys: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
    assert_eq!(keys, ["redis.durability", "redis.partitions", "redis.urls", "scylla.nodes", "scylla.pending_ttl"]);
}

#[test]
fn each_role_reads_the_files_it_needs() {
    let missing = |name: &str| Some(PathBuf::from(format!("/no/such/{name}")));
    let mut config = Config::standalone();
    config.gateway.api_key_file = missing("key");
    config.redis.password_file = missing("redis");
    config.scylla.ca_file = missing("scylla");
    for (role, keys) in [
        (Role::Standalone, &["gateway.api_key_file"][..]),
        (Role::Gateway, &["gateway.api_key_file", "redis.password_file", "scylla.ca_file"]),
        (Role::Fanout, &["redis.password_file", "scylla.ca_file"]),
        (Role::Migrate, &["scylla.ca_file"]),
    ] {
        let faults: Vec<_> = config.file_faults(role).into_iter().map(|fault| fault.key).collect();
        assert_eq!(faults, keys, "{role}");
    }
}

#[test]
fn the_later_source_wins_key_by_key() {
    let file = "[gateway]\nlisten = '127.0.0.1:1'\ntopics_max = 1\nidle_timeout = '1s'";
    let place = Place::new().file(file);
    let port = |place: &Place, flags: &[Flag]| place.load(flags).unwrap().gateway.listen.port();
    assert_eq!(port(&Place::new(), &[]), 4000);
    assert_eq!(port(&place, &[]), 1);
    let place = place.variable("ROOST_GATEWAY__LISTEN", "127.0.0.1:2").variable("ROOST_GATEWAY__TOPICS_MAX", "2");
    assert_eq!(port(&place, &[]), 2);
    assert_eq!(port(&place, &[listen("127.0.0.1:3")]), 3);
    let config = place.load(&[listen("127.0.0.1:3")]).unwrap();
    assert_eq!(config.gateway.topics_max, 2);
    assert_eq!(config.gateway.idle_timeout, Duration::from_secs(1));
    assert_eq!(config.gateway.confirm_timeout, Duration::from_secs(30));
}

#[test]
fn variables_are_read_as_what_their_key_wants() {
    let keys = r#"[{"algorithm": "HS256", "file": "/secret"}, {"algorithm": "RS256", "file": "/pem", "kid": "a"}]"#;
    let config = Place::new()
        .variable("ROOST_DATA", "7")
        .variable("ROOST_LOG__FORMAT", "json")
        .variable("ROOST_GATEWAY__ORIGINS", r#"["//a", "https://*.b"]"#)
        .variable("ROOST_GATEWAY__API_KEY_FILE", "1234")
        .variable("ROOST_GATEWAY__CONNECTIONS_MAX", " 5 ")
        .variable("ROOST_AUTH__KEYS", keys)
        .variable("ROOST_AUTH__LEEWAY", "90s")
        .variable("ROOST_CHATS__OPEN_JOIN", "false")
        .variable("ROOST_FANOUT__READ_WAIT", "250ms")
        .variable("ROOST_REDIS__URL", "redis://user:secret@h")
        .variable("ROOST_REDIS__PARTITIONS", "8")
        .variable("ROOST_SCYLLA__NODES", r#"["a", "b:1"]"#)
        .variable("ROOST_SCYLLA__REPLICATION", "{'east': 3, 'west': 2}")
        .load(&[])
        .unwrap();
    assert_eq!(config.data, PathBuf::from("7"));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.gateway.origins, ["//a", "https://*.b"]);
    assert_eq!(config.gateway.api_key_file, Some("1234".into()));
    assert_eq!(config.gateway.connections_max, 5);
    assert_eq!(config.auth.keys.len(), 2);
    assert_eq!(config.auth.keys[1].kid.as_deref(), Some("a"));
    assert_eq!(config.auth.leeway, Duration::from_secs(90));
    assert!(!config.chats.open_join);
    assert_eq!(config.fanout.read_wait, Duration::from_millis(250));
    assert_eq!(config.redis.url, RedisUrl::new("redis://user:secret@h"));
    assert_eq!(config.redis.partitions.get(), 8);
    assert_eq!(config.scylla.nodes, ["a", "b:1"]);
    assert_eq!(config.scylla.replication, serde_json::from_str(r#"{"east": 3, "west": 2}"#).unwrap());
}

#[test]
fn variables_that_are_not_ours_are_left_alone() {
    let place = Place::new()
        .variable("ROOST_CACHE", "/tmp")
        .variable("ROOST_SERVICE_HOST", "10.0.0.1")
        .variable("ROOST_PORT", "tcp://10.0.0.1:4000")
        .variable("ROOST_PORT_4000_TCP_ADDR", "10.0.0.1")
        .variable("ROOST_GATEWAY_SERVICE_PORT_HTTP", "4000")
        .variable("ROOSTER", "1")
        .variable("roost_data", "x");
    assert_eq!(place.load(&[]), Ok(Config::standalone()));
}

#[test]
fn an_unknown_key_is_a_fault_in_every_source() {
    let place = Place::new()
        .file("nonsense = 1\n[gateway]\nlisten_adress = 'x'\n[getaway]\nlisten = 'x'\n[data]\nx = 1")
        .variable("ROOST_GATEWAY_LISTEN", "127.0.0.1:1")
        .variable("ROOST_GATEWAY__LISTEN__PORT", "1")
        .variable("ROOST_NONSENSE", "1");
    let flag = Flag { name: "--nonsense", key: "gateway.nonsense", value: "1".into() };
    let faults = place.faults(&[flag]);
    let hint = "; a section and its key are joined by two underscores";
    let unknown =
        |key: &str, hint: &str, origin: &str| format!("{key}: is not a key of the configuration{hint} (in {origin})");
    let variable = |name: &str| format!("the environment variable {name}");
    assert_eq!(
        faults,
        [
            "data: invalid type: map, expected path string (in roost.toml)".to_owned(),
            unknown("gateway.listen_adress", "", "roost.toml"),
            unknown("getaway", "", "roost.toml"),
            unknown("nonsense", "", "roost.toml"),
            unknown("gateway.listen.port", "", &variable("ROOST_GATEWAY__LISTEN__PORT")),
            unknown("gateway_listen", hint, &variable("ROOST_GATEWAY_LISTEN")),
            unknown("nonsense", hint, &variable("ROOST_NONSENSE")),
            unknown("gateway.nonsense", "", "the flag --nonsense"),
        ]
    );
}

#[test]
fn every_fault_of_every_source_is_told_at_once() {
    let file = "
        [gateway]
        idle_timeout = 5
        handshake_timeout = '5 minutes'
        topics_max = -1
        origins = ['fine', 3]
        api_listen = '127.0.0.1:4000'
        [auth]
        keys = [{ algorithm = 'none', file = 'a' }, { algorithm = 'HS256' }, { algorithm = 'HS256', file = 'a', key = 'x' }]
        [chats]
        content_bytes_max = 0
        [log]
        filter = 'info,='
        format = 'xml'
    ";
    let place = Place::new()
        .file(file)
        .variable("ROOST_CHATS__OPEN_JOIN", "yes")
        .variable("ROOST_CHATS__HIDE_EXISTENCE", "1")
        .variable("ROOST_GATEWAY__INBOUND_RATE", "fast")
        .variable("ROOST_GATEWAY", "x")
        .variable("ROOST_FANOUT__LEASE_RENEW_INTERVAL", "9s");
    let faults = place.faults(&[listen("localhost")]);
    let expected = [
        ("auth.keys[0]: unknown variant `none`", "roost.toml"),
        ("auth.keys[1]: missing field `file`", "roost.toml"),
        ("auth.keys[2]: unknown field `key`", "roost.toml"),
        ("gateway.handshake_timeout: \"5 minutes\" is not a duration", "roost.toml"),
        ("gateway.idle_timeout: invalid type: integer `5`", "roost.toml"),
        ("gateway.origins[1]: invalid type: integer `3`", "roost.toml"),
        ("gateway.topics_max: invalid value: integer `-1`", "roost.toml"),
        ("log.format: unknown variant `xml`", "roost.toml"),
        ("chats.hide_existence: must be true or false", "the environment variable ROOST_CHATS__HIDE_EXISTENCE"),
        ("chats.open_join: must be true or false", "the environment variable ROOST_CHATS__OPEN_JOIN"),
        ("gateway: is a section and takes no value", "the environment variable ROOST_GATEWAY"),
        ("gateway.inbound_rate: must be a number", "the environment variable ROOST_GATEWAY__INBOUND_RATE"),
        ("gateway.listen: invalid socket address", "the flag --listen"),
        ("log.filter: \"info,=\" is not a filter", "roost.toml"),
        ("chats.content_bytes_max: must be 1 to", "roost.toml"),
        (
            "fanout.lease_renew_interval: must be at most half of fanout.lease_ttl",
            "the environment variable ROOST_FANOUT__LEASE_RENEW_INTERVAL",
        ),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, (start, origin)) in faults.iter().zip(expected) {
        assert!(fault.starts_with(start) && fault.ends_with(&format!("(in {origin})")), "{fault}\nis not\n{start}");
    }
}

#[test]
fn nothing_is_said_about_the_default_that_stands_for_an_unreadable_value() {
    // The listeners would be the same if the flag's value were the default.
    let place = Place::new().file("[gateway]\napi_listen = '127.0.0.1:4000'");
    assert_eq!(place.faults(&[]).len(), 1);
    let faults = place.faults(&[listen("nonsense")]);
    assert_eq!(faults, ["gateway.listen: invalid socket address syntax (in the flag --listen)"]);
}

#[test]
fn a_file_that_is_asked_for_must_be_there_and_be_toml() {
    let place = Place::new().variable("ROOST_CONFIG", "missing.toml");
    assert!(place.faults(&[])[0].starts_with("ROOST_CONFIG: missing.toml can not be read"));
    // The flag wins over the variable.
    let other = place.0.path().join("other.toml");
    fs::write(&other, "[gateway]\ntopics_max = 3").unwrap();
    let config = load(Role::Standalone, Some(&other), &[], &place.1, Config::faults).unwrap();
    assert_eq!(config.gateway.topics_max, 3);
    let missing = load(Role::Standalone, Some("missing".as_ref()), &[], &place.1, Config::faults).unwrap_err();
    assert_eq!(missing[0].key, "--config");

    // What is in the environment is told even so.
    let broken = Place::new().file("[gateway\nlisten = 1").variable("ROOST_GATEWAY__TOPICS_MAX", "many");
    let faults = broken.faults(&[]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("roost.toml: roost.toml is not TOML") && faults[0].contains("line 1"), "{faults:?}");
}

#[test]
fn key_files_are_looked_at_with_everything_else() {
    let place = Place::new()
        .variable("ROOST_AUTH__KEYS", r#"[{"algorithm": "HS256", "file": "/no/such/secret"}]"#)
        .variable("ROOST_GATEWAY__API_KEY_FILE", "/no/such/key")
        .variable("ROOST_GATEWAY__TOPICS_MAX", "0");
    let faults = load(Role::Standalone, None, &[], &place.1, Config::all_faults).unwrap_err();
    let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["gateway.topics_max", "gateway.api_key_file", "auth.keys[0].file"]);
}

const DOCUMENTATION: &str = include_str!("../../docs/configuration.md");

fn documented_example() -> &'static str {
    DOCUMENTATION.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the example is there")
}

#[test]
fn history_is_kept_for_as_long_as_anything_is_pending() {
    let mut config = Config::of(Role::Fanout);
    config.scylla.history_ttl = config.chats.pending_ttl - Duration::from_secs(1);
    let keys = |role| config.faults(role).into_iter().map(|fault| fault.key).collect::<Vec<_>>();
    assert_eq!(keys(Role::Fanout), ["scylla.history_ttl"]);
    assert!(keys(Role::Standalone).is_empty());
}

#[test]
fn the_documented_example_is_the_defaults_with_every_key() {
    let place = Place::new().file(documented_example());
    assert_eq!(place.load(&[]), Ok(Config::standalone()));

    // Every key is in it, under its section; those without a default as a comment.
    let table: toml::Table = toml::from_str(documented_example()).unwrap();
    let defaults = serde_json::to_value(Config::standalone()).unwrap();
    for (section, value) in defaults.as_object().unwrap() {
        let Value::Object(keys) = value else {
            assert!(table.contains_key(section), "{section}");
            continue;
        };
        let documented = table.get(section).and_then(toml::Value::as_table).unwrap_or_else(|| panic!("[{section}]"));
        for (key, value) in keys {
            let as_comment = format!("\n# {key} = ");
            let is_there =
                if value.is_null() { documented_example().contains(&as_comment) } else { documented.contains_key(key) };
            assert!(is_there, "{section}.{key} is not in the documented example");
        }
    }
}

#[test]
fn the_documented_example_is_right_in_its_comments_too() {
    let optional = [
        "# api_key_file =",
        "# issuer =",
        "# audience =",
        "#   keys =",
        "# password_file =",
        "# sentinel_password_file =",
        "# ca_file =",
        "# allow_eviction_policy =",
        "# username =",
    ];
    let mut text = documented_example().replace("\nkeys = []", "");
    for comment in optional {
        assert!(text.contains(comment), "{comment}");
        text = text.replace(comment, comment.trim_start_matches(['#', ' ']));
    }
    let config = Place::new().file(&text).load(&[]).unwrap();
    assert_eq!(config.auth.keys[0].kid.as_deref(), Some("2026"));
    assert!(config.auth.issuer.is_some() && config.auth.audience.is_some() && config.gateway.api_key_file.is_some());
}
