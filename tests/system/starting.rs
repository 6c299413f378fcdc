//! What an operator sees on starting it and on its command line.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::place::{Place, phone};

fn roost(place: &Place, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roost"))
        .env_clear()
        .current_dir(place.path("."))
        .args(arguments)
        .output()
        .expect("the binary can be started")
}

fn mode(place: &Place, name: &str) -> u32 {
    std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn start_up_text_says_where_it_listens_and_how_to_get_a_token() {
    let place = Place::new();
    let node = place.start().await;
    let text = node.start_text();
    assert!(text.contains(&format!("http://{}", node.address())), "{text}");
    assert!(text.contains(&format!("http://{}", node.api_address())), "{text}");
    assert!(text.contains("roost token --user"), "{text}");
}

#[tokio::test]
async fn secrets_made_on_the_first_start_are_for_the_owner_only_and_stay() {
    let place = Place::new();
    let node = place.start().await;
    assert_eq!(mode(&place, "data/api.key"), 0o600);
    let token = node.token("ann", "phone");
    let secrets = std::fs::read_dir(place.path("data")).unwrap().map(|entry| entry.unwrap().path());
    let private: Vec<_> = secrets
        .filter(|path| path.is_file())
        .filter(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("PRIVATE KEY"))
        .collect();
    assert_eq!(private.len(), 1, "one private key: {private:?}");
    assert_eq!(private[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read(place.path("data/api.key")).unwrap();
    node.kill_9();

    let node = place.start().await;
    assert_eq!(std::fs::read(place.path("data/api.key")).unwrap(), key);
    let old = node.connect("ann", "phone").parameter("token", Some(&token));
    old.open().await.expect("a token from before the restart is still good");
}

#[tokio::test]
async fn token_is_for_the_user_the_device_and_the_time_that_were_asked_for() {
    let place = Place::new();
    let node = place.start().await;
    let token = node.token_for(&["--user", "ann", "--ttl", "2h"]);
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64_url(claims);
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "ann");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let left = claims["exp"].as_u64().unwrap() - now;
    assert!((7100..=7200).contains(&left), "{left}");
    let mut ann = phone(&node, "ann").await;
    ann.join("notifications:ann").await;
}

/// Base64 without padding, in the alphabet for URLs.
fn base64_url(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter).expect("a letter of the alphabet");
        bits = bits << 6 | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

#[tokio::test]
async fn tokens_and_contents_reach_no_log() {
    let place = Place::new().set("log.filter", "trace");
    let node = place.start().await;
    let token = node.token("ann", "phone");
    let mut ann = node.connect("ann", "phone").parameter("token", Some(&token)).open().await.unwrap();
    ann.join("chat:c1").await;
    ann.say("c1", "1", "the words nobody may read").await;
    let garbage = node.connect("ann", "phone").parameter("token", Some(&token[..token.len() - 4]));
    assert_eq!(garbage.open().await.unwrap_err().status, 403);
    let signature = token.rsplit('.').next().unwrap();
    let log = node.log();
    assert!(!log.is_empty());
    assert!(!log.contains(&signature[..16]), "a token is in the log");
    assert!(!log.contains("nobody may read"), "a content is in the log");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let place = Place::new();
    for arguments in [&["--no-such-flag"][..], &["no-such-role"], &["token"], &["--listen", "nowhere"]] {
        let output = roost(&place, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn faults_of_the_configuration_are_named_all_at_once_before_a_port_opens() {
    let place = Place::new().set("gateway.frame_bytes_max", 0).set("gateway.no_such_key", 1).set("chats.open_join", 7);
    let failure = place.options.start().await.unwrap_err();
    assert_eq!(failure.status.code(), Some(2), "{}", failure.stderr);
    for key in ["no_such_key", "open_join"] {
        assert!(failure.stderr.contains(key), "{key} in {}", failure.stderr);
    }
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    for arguments in [&["--help"][..], &["token", "--help"], &["check-config", "--help"]] {
        let output = roost(&place, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("--"), "{arguments:?}");
    }
}

#[tokio::test]
async fn second_node_on_the_same_data_is_refused_with_a_reason() {
    let place = Place::new();
    let _node = place.start().await;
    let failure = place.options.start().await.unwrap_err();
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains("data"), "{}", failure.stderr);
}

#[tokio::test]
async fn port_that_is_taken_is_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failure = place.options.clone().listen(address).start().await.unwrap_err();
    assert_eq!(failure.status.code(), Some(1), "{}", failure.stderr);
    assert!(failure.stderr.contains(&address.to_string()), "{}", failure.stderr);
}
