//! The runtime configuration, in Spin's words: where the key-value store is, and whose certificates are believed.
//!
//! ```toml
//! [key_value_store.default]
//! type = "redis"
//! url = "rediss://user:password@redis.example:6379"
//!
//! [[client_tls]]
//! component_ids = ["webhook", "tick", "console"]
//! hosts = ["gateway.example"]
//! ca_roots_file = "site-ca.pem"
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::State;
use super::outbound::tls::ClientTls;

/// What a file says.
#[derive(Debug, Default)]
pub struct RuntimeConfig {
    redis: Option<Url>,
    /// Certificates of some components and hosts.
    pub client_tls: Vec<ClientTls>,
}

/// It may hold a password.
struct Url(String);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key_value_store: Stores,
    #[serde(default)]
    client_tls: Vec<ClientTls>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stores {
    default: Option<Store>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Store {
    /// SQLite in the state folder, as without a file.
    Spin {},
    /// Redis or Valkey.
    Redis { url: String },
}

impl RuntimeConfig {
    /// Reads the file at `path`; files that it names are seen from its folder, as with Spin.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| format!("--runtime-config-file {shown}: {error}"))?;
        // The error's own text shows the line, which may hold a password.
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text.get(..span.start).map_or(0, |before| before.lines().count()));
            format!("--runtime-config-file {shown}, near line {line}: {}", error.message())
        })?;
        let redis = match file.key_value_store.default {
            Some(Store::Redis { url }) => Some(Url(url)),
            Some(Store::Spin {}) | None => None,
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let client_tls = file.client_tls.into_iter().map(|entry| entry.seen_from(folder)).collect();
        Ok(Self { redis, client_tls })
    }

    /// Where the store is; `folder` is the state folder.
    pub fn state(&self, folder: PathBuf) -> State {
        match &self.redis {
            Some(Url(url)) => State::Redis(url.clone()),
            None => State::Folder(folder),
        }
    }

    /// Whether the file has something in it that others should not read.
    pub fn holds_secrets(&self) -> bool {
        self.redis.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RuntimeConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime-config.toml");
        std::fs::write(&path, text).unwrap();
        RuntimeConfig::read(&path)
    }

    #[test]
    fn spins_words_are_understood() {
        let redis = read("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://h:1'").unwrap();
        assert!(!format!("{redis:?}").contains("h:1"));
        assert!(matches!(redis.state(PathBuf::from("here")), State::Redis(url) if url == "redis://h:1"));
        for own in ["", "[key_value_store.default]\ntype = 'spin'"] {
            let state = read(own).unwrap().state(PathBuf::from("here"));
            assert!(matches!(state, State::Folder(folder) if folder == Path::new("here")));
        }
        let text = "[[client_tls]]\ncomponent_ids = ['a']\nhosts = ['h']\nca_use_webpki_roots = true";
        assert_eq!(read(text).unwrap().client_tls.len(), 1);
    }

    #[test]
    fn what_is_not_supported_is_refused_and_no_password_shown() {
        for (bad, named) in [
            ("[key_value_store.other]\ntype = 'spin'", "other"),
            ("[key_value_store.default]\ntype = 'azure_cosmos'", "azure_cosmos"),
            ("[[client_tls]]\ncomponent_ids = ['a']\nhost = 'h'", "host"),
            ("[llm_compute]\ntype = 'x'", "llm_compute"),
            ("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://:hunter2@h'\nx = 1", "x"),
            ("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://:hunter2@h' oops", "line"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(named) && !error.contains("hunter2"), "{bad}: {error}");
        }
        assert!(RuntimeConfig::read(Path::new("/no/such")).unwrap_err().contains("/no/such"));
    }
}
