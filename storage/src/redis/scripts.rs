//! The Lua scripts: one file each, keys and arguments listed on top. Every connection that runs scripts loads all of
//! them when it opens; a server that has forgotten them since (`SCRIPT FLUSH`) is given them again.

use redis::{Cmd, Value};

macro_rules! scripts {
    ($($name:ident $file:literal)+) => {
        /// One of the scripts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Script {
            $(#[doc = concat!("`", $file, ".lua`")] $name,)+
        }

        const SOURCES: &[&str] = &[$(include_str!(concat!("scripts/", $file, ".lua")),)+];
    };
}

scripts! {
    Append "append"
    Acquire "acquire"
    Renew "renew"
    Release "release"
    Commit "commit"
    Announce "announce"
    MailboxOpen "mailbox_open"
    MailboxPut "mailbox_put"
    MailboxConfirm "mailbox_confirm"
    MailboxTouch "mailbox_touch"
    MailboxFence "mailbox_fence"
    MailboxRemove "mailbox_remove"
    GatewayUp "gateway_up"
    GatewayRenew "gateway_renew"
    GatewayState "gateway_state"
    GatewayClaim "gateway_claim"
    GatewayForget "gateway_forget"
    GatewayIndex "gateway_index"
}

/// The digests under which a server knows the scripts.
#[derive(Debug)]
pub(super) struct Digests(Vec<Vec<u8>>);

impl Digests {
    /// The digests from the answers to [`load_commands`], or the first answer that is none.
    pub(super) fn from_answers(answers: Vec<Value>) -> Result<Self, Value> {
        let digests = answers.into_iter().map(|answer| match answer {
            Value::BulkString(digest) => Ok(digest),
            other => Err(other),
        });
        digests.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn of(&self, script: Script) -> &[u8] {
        &self.0[script as usize]
    }
}

/// One `SCRIPT LOAD` per script.
pub(super) fn load_commands() -> impl Iterator<Item = Cmd> {
    SOURCES.iter().map(|source| {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(*source);
        command
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_file_is_loaded_and_lists_its_keys() {
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/scripts")).unwrap();
        assert_eq!(files.count(), SOURCES.len());
        for source in SOURCES {
            let head: Vec<_> = source.lines().take_while(|line| line.starts_with("--")).collect();
            assert!(head.iter().any(|line| line.starts_with("-- KEYS[1] ")), "{}", head[0]);
            let highest = (1..9).rev().find(|n| source.contains(&format!("KEYS[{n}]"))).unwrap();
            let listed = (1..9).filter(|n| head.iter().any(|line| line.starts_with(&format!("-- KEYS[{n}] ")))).count();
            assert_eq!(listed, highest, "{}", head[0]);
        }
    }
}
