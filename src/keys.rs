//! The keys in the data directory: made on standalone's first start, found again by `roost token`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use roost_gateway::auth::keys;
use roost_gateway::config::{Algorithm, KeyConfig};

use crate::config::Config;

/// Where the data directory's keys are, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataKeys {
    directory: PathBuf,
    /// Signs tokens. Only its owner may read it.
    pub(crate) token_private: PathBuf,
    /// Verifies them.
    pub(crate) token_public: PathBuf,
    /// The HTTP API's bearer key. Only its owner may read it.
    pub(crate) api_key: PathBuf,
}

impl DataKeys {
    /// Those of a data directory, whether they exist or not.
    pub(crate) fn of(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            token_private: directory.join("token-private.pem"),
            token_public: directory.join("token-public.pem"),
            api_key: directory.join("api.key"),
        }
    }

    /// Makes the directory and the keys that it does not have yet, durably, and points the configuration at those it
    /// names no others for. Two processes may do it at once: both end with the same keys.
    ///
    /// # Errors
    /// When the directory can not be written, or the private key in it is none.
    pub(crate) fn prepare(config: &mut Config) -> anyhow::Result<()> {
        let keys = Self::of(&config.data);
        let at = || format!("the data directory {} can not be used", keys.directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&keys.directory).with_context(at)?;
        if config.auth.keys.is_empty() {
            keys.make_token_keys()?;
            let key = KeyConfig { algorithm: Algorithm::RS256, file: keys.token_public.clone(), kid: None };
            config.auth.keys.push(key);
        }
        if config.gateway.api_key_file.is_none() {
            if !keys.api_key.exists() {
                keys.put(&keys.api_key, 0o600, &format!("{}\n", keys::generate_secret()?))?;
            }
            config.gateway.api_key_file = Some(keys.api_key);
        }
        Ok(())
    }

    /// The private key comes first, and the public one from it: a crash between the two leaves nothing that differs.
    fn make_token_keys(&self) -> anyhow::Result<()> {
        if !self.token_private.exists() {
            let (private, _) = keys::generate_key_pair()?;
            self.put(&self.token_private, 0o600, &private)?;
        }
        if !self.token_public.exists() {
            let file = &self.token_private;
            let private = fs::read(file).with_context(|| format!("{} can not be read", file.display()))?;
            let public = keys::public_key_of(&private).with_context(|| file.display().to_string())?;
            self.put(&self.token_public, 0o644, &public)?;
        }
        Ok(())
    }

    /// Puts a file there as a whole or not at all, and on the disk before it returns. One that is there already stays.
    fn put(&self, file: &Path, mode: u32, contents: &str) -> anyhow::Result<()> {
        let mut draft = file.as_os_str().to_owned();
        // A name of its own: process ids repeat in containers.
        draft.push(format!(".{}", &keys::generate_secret()?[..8]));
        let draft = PathBuf::from(draft);
        let put = || -> std::io::Result<()> {
            let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
            open.write_all(contents.as_bytes())?;
            open.sync_all()?;
            match fs::hard_link(&draft, file) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            fs::remove_file(&draft)?;
            File::open(&self.directory)?.sync_all()
        };
        let result = put();
        if result.is_err() {
            // It may not have been made at all.
            let _ = fs::remove_file(&draft);
        }
        result.with_context(|| format!("{} can not be written", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;
    use std::os::unix::fs::PermissionsExt;

    fn config_in(directory: &Path) -> Config {
        Config { data: directory.to_owned(), ..Config::standalone() }
    }

    #[test]
    fn keys_are_made_once_private_and_usable() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("deep/data");
        let mut config = config_in(&data);
        DataKeys::prepare(&mut config).unwrap();
        let keys = DataKeys::of(&data);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&keys.token_private), 0o600);
        assert_eq!(mode(&keys.api_key), 0o600);
        assert_eq!(config.file_faults(Role::Standalone), []);
        assert_eq!(config.auth.keys[0].file, keys.token_public);
        assert_eq!(config.gateway.api_key_file.as_ref(), Some(&keys.api_key));
        assert!(fs::read_to_string(&keys.api_key).unwrap().trim().len() >= 43);
        let mut names: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["api.key", "token-private.pem", "token-public.pem"]);

        let all = || [&keys.token_private, &keys.token_public, &keys.api_key].map(|file| fs::read(file).unwrap());
        let before = all();
        DataKeys::prepare(&mut config_in(&data)).unwrap();
        assert_eq!(all(), before);
    }

    #[test]
    fn a_missing_public_key_is_made_from_the_private_one() {
        let home = tempfile::tempdir().unwrap();
        let keys = DataKeys::of(home.path());
        DataKeys::prepare(&mut config_in(home.path())).unwrap();
        let before = fs::read(&keys.token_public).unwrap();
        fs::remove_file(&keys.token_public).unwrap();
        DataKeys::prepare(&mut config_in(home.path())).unwrap();
        assert_eq!(fs::read(&keys.token_public).unwrap(), before);
    }

    #[test]
    fn keys_that_the_configuration_names_are_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let mut config = config_in(home.path());
        config.auth.keys = vec![KeyConfig { algorithm: Algorithm::HS256, file: "secret".into(), kid: None }];
        config.gateway.api_key_file = Some("key".into());
        let before = config.clone();
        DataKeys::prepare(&mut config).unwrap();
        assert_eq!(config, before);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_stands_in_the_way_is_said_with_the_path() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DataKeys::prepare(&mut config_in(&file)).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");

        fs::write(home.path().join("token-private.pem"), "nonsense").unwrap();
        let error = format!("{:#}", DataKeys::prepare(&mut config_in(home.path())).unwrap_err());
        assert!(error.contains("token-private.pem") && !error.contains("nonsense"), "{error}");
    }
}
