//! The commands as they are called: what goes to stdout, what to stderr, and the exit code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use roost_gateway::auth::Authenticator;
use roost_gateway::config::{Algorithm, AuthConfig, KeyConfig};
use tempfile::TempDir;

use super::*;
use crate::keys::DataKeys;

const SECRET: &str = "an-example-secret-of-forty-two-characters!";

struct Ended {
    code: u8,
    out: String,
    err: String,
}

/// Runs `roost` with arguments in a directory of its own.
fn roost_in(directory: &Path, arguments: &[&str]) -> Ended {
    let around = Surroundings { environment: Vec::new(), directory: directory.into() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let arguments = ["roost"].iter().chain(arguments).map(OsString::from);
    let code = run(arguments, &around, &mut out, &mut err);
    Ended { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn roost(arguments: &[&str]) -> Ended {
    roost_in(tempfile::tempdir().unwrap().path(), arguments)
}

/// A data directory after a first start.
fn started() -> (TempDir, Config) {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config { data: data.path().into(), ..Config::standalone() };
    DataKeys::prepare(&mut config).unwrap();
    (data, config)
}

#[test]
fn help_and_version_go_to_stdout_and_are_fine() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["help", "token"],
        &["token", "--help"],
        &["check-config", "--help"],
        &["gateway", "--help"],
        &["fanout", "--help"],
        &["migrate", "--help"],
    ] {
        let ended = roost(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        assert!(!ended.out.is_empty());
    }
    let help = roost(&["--help"]).out;
    for text in ["Examples:", "roost token --user alice", "ROOST_GATEWAY__IDLE_TIMEOUT", "127.0.0.1:4000", "Exit codes"]
    {
        assert!(help.contains(text), "{text} is not in\n{help}");
    }
}

#[test]
fn wrong_usage_goes_to_stderr_and_is_2() {
    for (arguments, text) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["nonsense"], "nonsense"),
        (&["token"], "--user"),
        (&["check-config", "--role", "nonsense"], "standalone, gateway, fanout, migrate"),
        (&["gateway", "--dry-run"], "--dry-run"),
        (&["token", "--user", ""], "user id"),
        (&["token", "--user", "a", "--device", "a\nb"], "device id"),
        (&["token", "--user", "a", "--ttl", "1"], "is not a duration"),
        (&["token", "--user", "a", "--ttl", "0s"], "1s to 3650d"),
        (&["token", "--user", "a", "--ttl", "3651d"], "1s to 3650d"),
        (&["token", "--user", "a", "--algorithm", "none"], "RS256"),
    ] {
        let ended = roost(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.err.contains(text), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn a_token_is_all_that_is_printed_and_the_server_accepts_it() {
    let (data, config) = started();
    let directory = data.path().to_str().unwrap();
    let authenticator = Authenticator::new(&config.auth).unwrap();
    for (arguments, device, hours) in [
        (&["token", "--user", "alice"][..], None, 1),
        (&["token", "--user", "alice", "--device", "phone", "--ttl", "2d"], Some("phone"), 48),
    ] {
        let before = SystemTime::now();
        let ended = roost(&[arguments, &["--data", directory]].concat());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let token = ended.out.strip_suffix('\n').unwrap();
        assert!(!token.contains(char::is_whitespace));
        let verified = authenticator.verify(token, SystemTime::now()).unwrap();
        assert_eq!(verified.user.as_str(), "alice");
        assert_eq!(verified.device.as_ref().map(|device| device.as_str()), device);
        let life = verified.expires_at.duration_since(before).unwrap();
        let expected = Duration::from_hours(hours);
        assert!(life + Duration::from_secs(1) >= expected && life <= expected + Duration::from_secs(60), "{life:?}");
    }
}

#[test]
fn before_the_first_start_there_is_no_key_and_one_sentence_says_so() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("none");
    let ended = roost(&["token", "--user", "alice", "--data", data.to_str().unwrap()]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert!(ended.err.contains(&format!("there is no key in {} yet", data.display())), "{}", ended.err);
    assert!(!data.exists());
}

#[test]
fn a_token_is_signed_with_the_key_that_is_named_or_configured() {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let secret_path = secret.to_str().unwrap();
    let key = KeyConfig { algorithm: Algorithm::HS256, file: secret.clone(), kid: None };
    let auth = AuthConfig {
        keys: vec![key],
        issuer: Some("https://issuer.example".into()),
        audience: Some("chat".into()),
        ..AuthConfig::default()
    };
    let authenticator = Authenticator::new(&auth).unwrap();
    let file = home.path().join("roost.toml");
    let issuer = "issuer = 'https://issuer.example'\naudience = 'chat'";
    fs::write(&file, format!("[auth]\n{issuer}\nkeys = [{{ algorithm = 'HS256', file = '{secret_path}' }}]")).unwrap();
    for arguments in [
        &["token", "--user", "alice"][..],
        &["token", "--user", "alice", "--algorithm", "hs256"],
        &["token", "--user", "alice", "--algorithm", "HS256", "--key", secret_path],
    ] {
        let ended = roost_in(home.path(), arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        assert!(authenticator.verify(ended.out.trim(), SystemTime::now()).is_ok(), "{arguments:?}");
    }
    for (arguments, text) in [
        (&["token", "--user", "alice", "--key", secret_path][..], "is not a private key"),
        (&["token", "--user", "alice", "--key", "/no/such/file"], "/no/such/file"),
        (&["token", "--user", "alice", "--algorithm", "RS256"], "--key FILE"),
    ] {
        let ended = roost_in(home.path(), arguments);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{arguments:?}");
        assert!(ended.err.contains(text) && !ended.err.contains(SECRET), "{arguments:?}: {}", ended.err);
    }
}

#[test]
fn check_config_prints_what_could_be_read_again_and_no_secret() {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let key = format!("[{{ algorithm = 'HS256', file = '{}', kid = 'a' }}]", secret.display());
    let text = format!("[auth]\nkeys = {key}\n[gateway]\ntopics_max = 7\napi_key_file = '{}'\n", secret.display());
    fs::write(home.path().join("roost.toml"), text).unwrap();

    let ended = roost_in(home.path(), &["check-config", "--listen", "127.0.0.1:0"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(!ended.out.contains(SECRET), "{}", ended.out);
    assert!(ended.out.contains("topics_max = 7") && ended.out.contains("idle_timeout = \"60s\""), "{}", ended.out);

    fs::write(home.path().join("again.toml"), &ended.out).unwrap();
    let again = roost_in(home.path(), &["check-config", "--config", "again.toml"]);
    assert_eq!((again.code, again.out), (0, ended.out));
    assert!(!format!("{:?}", read(home.path())).contains(SECRET));
}

fn read(directory: &Path) -> Config {
    let around = Surroundings { environment: Vec::new(), directory: directory.into() };
    config::load(Role::Standalone, None, &[], &around, Config::all_faults).unwrap()
}

#[test]
fn a_wrong_configuration_is_2_for_every_command_and_tells_all() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("roost.toml"), "[gateway]\ntopics_max = 0\nnonsense = 1").unwrap();
    for arguments in [&[][..], &["check-config"], &["token", "--user", "alice"]] {
        let ended = roost_in(home.path(), &[arguments, &["--listen", "nowhere"]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        for key in ["gateway.topics_max: ", "gateway.nonsense: ", "gateway.listen: "] {
            assert!(ended.err.contains(key), "{arguments:?}: {}", ended.err);
        }
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_wrong_configuration_of_a_cluster_is_2_for_each_role_and_opens_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("roost.toml"), "[scylla]\nkeyspace = 'a-b'\n[redis]\nurl = 'redis://u:sesame@'")
        .unwrap();
    for (arguments, key) in [
        (&["gateway"][..], "gateway.api_listen: "),
        (&["fanout"], "fanout.api_listen: "),
        (&["migrate"], "gateway.api_listen: "),
        (&["check-config", "--role", "fanout"], "fanout.api_listen: "),
    ] {
        let ended = roost_in(home.path(), &[arguments, &["--api-listen", "nowhere"]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        for key in ["scylla.keyspace: ", "redis.url: ", key] {
            assert!(ended.err.contains(key), "{arguments:?}: {}", ended.err);
        }
        assert!(!ended.err.contains("sesame"), "{}", ended.err);
        assert_eq!(ended.err.contains("auth.keys: "), arguments == ["gateway"], "{}", ended.err);
    }
}

#[test]
fn check_config_prints_what_a_role_would_read() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("roost.toml"), "[redis]\nurl = 'redis://u:sesame@h'").unwrap();
    let ended = roost_in(home.path(), &["check-config", "--role", "fanout", "--api-listen", "127.0.0.1:7"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("for fanout") && ended.out.contains("open_join = false"), "{}", ended.out);
    assert!(ended.out.contains("redis://u:***@h") && !ended.out.contains("sesame"), "{}", ended.out);
    let config: toml::Table = toml::from_str(&ended.out).unwrap();
    assert_eq!(config["fanout"]["api_listen"].as_str(), Some("127.0.0.1:7"));
    assert_eq!(config["gateway"]["api_listen"].as_str(), Some("0.0.0.0:4001"));
}
