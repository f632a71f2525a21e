//! The runtime configuration: where the key-value store is, in Spin's words.
//!
//! ```toml
//! [key_value_store.default]
//! type = "redis"
//! url = "redis://127.0.0.1:6379"
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key_value_store: Stores,
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

/// Where the store is by the file at `path`; `folder` is the state folder.
pub fn state(path: &Path, folder: PathBuf) -> Result<State, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("--runtime-config-file {shown}: {error}"))?;
    // The error's own text shows the line, which may hold a password.
    let file: File = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(0, |span| text.get(..span.start).map_or(0, |before| before.lines().count()));
        format!("--runtime-config-file {shown}, near line {line}: {}", error.message())
    })?;
    Ok(match file.key_value_store.default {
        Some(Store::Redis { url }) => State::Redis(url),
        Some(Store::Spin {}) | None => State::Folder(folder),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<State, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runtime-config.toml");
        std::fs::write(&path, text).unwrap();
        state(&path, PathBuf::from("here"))
    }

    #[test]
    fn spins_words_are_understood() {
        let redis = read("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://h:1'").unwrap();
        assert!(matches!(redis, State::Redis(url) if url == "redis://h:1"));
        for own in ["", "[key_value_store.default]\ntype = 'spin'"] {
            assert!(matches!(read(own).unwrap(), State::Folder(folder) if folder == Path::new("here")));
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_and_no_password_shown() {
        for (bad, named) in [
            ("[key_value_store.other]\ntype = 'spin'", "other"),
            ("[key_value_store.default]\ntype = 'azure_cosmos'", "azure_cosmos"),
            ("[llm_compute]\ntype = 'x'", "llm_compute"),
            ("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://:hunter2@h'\nx = 1", "x"),
            ("[key_value_store.default]\ntype = 'redis'\nurl = 'redis://:hunter2@h' oops", "line"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(named) && !error.contains("hunter2"), "{bad}: {error}");
        }
        assert!(state(Path::new("/no/such"), PathBuf::new()).unwrap_err().contains("/no/such"));
    }
}
