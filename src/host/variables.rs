//! Variables: where their values come from, in Spin's order, and the templates `{{ name }}` over them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use thiserror::Error;

/// Why a variable has no value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum VariableError {
    /// Nothing gives it a value.
    #[error("{0}")]
    Undefined(String),
    /// A template is malformed.
    #[error("{0}")]
    Template(String),
}

/// Where values come from: the flags of the command line, the environment, then `.env`. `Debug` shows no value.
#[derive(Clone, Default)]
pub struct Provider {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").finish_non_exhaustive()
    }
}

/// Where variables may stand, in the current folder.
pub const FILE: &str = ".env";
const PREFIX: &str = "SPIN_VARIABLE_";

impl Provider {
    /// The flags `NAME=VALUE` or `NAME=@FILE`, over the process's environment, over `.env` in `folder`.
    pub fn new(flags: &[String], folder: &Path) -> Result<Self, String> {
        let mut environment = BTreeMap::new();
        let file = folder.join(FILE);
        if file.exists() {
            let entries = dotenvy::from_path_iter(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            for entry in entries {
                // The error of a line shows the line, which may hold a secret.
                let (key, value) =
                    entry.map_err(|_| format!("{} has a line that is not NAME=VALUE", file.display()))?;
                keep(&mut environment, &key, value);
            }
        }
        for (key, value) in std::env::vars_os() {
            if let (Some(key), Some(value)) = (key.to_str(), value.to_str()) {
                keep(&mut environment, key, value.to_owned());
            }
        }
        let flags = flags.iter().map(|flag| parse_flag(flag)).collect::<Result<_, _>>()?;
        Ok(Self { flags, environment })
    }

    /// Fixed values, for tests.
    pub fn fixed<const N: usize>(values: [(&str, &str); N]) -> Self {
        let flags = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { flags, environment: BTreeMap::new() }
    }

    /// Gives the variable `name` a value that wins over every source.
    pub fn set(&mut self, name: &str, value: &str) {
        self.flags.insert(name.to_owned(), value.to_owned());
    }

    /// The value of the application's variable `name`.
    pub fn get(&self, name: &str) -> Option<String> {
        self.flags.get(name).or_else(|| self.environment.get(name)).cloned()
    }
}

fn keep(environment: &mut BTreeMap<String, String>, key: &str, value: String) {
    if let Some(name) = key.strip_prefix(PREFIX) {
        environment.insert(name.to_lowercase(), value);
    }
}

fn parse_flag(flag: &str) -> Result<(String, String), String> {
    let Some((name, value)) = flag.split_once('=') else {
        return Err("--variable takes NAME=VALUE or NAME=@FILE".to_owned());
    };
    let value = match value.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("--variable {name}=@{file}: {error}"))?,
        None => value.to_owned(),
    };
    Ok((name.to_owned(), value))
}

/// Replaces each `{{ name }}` by what `value` gives for it.
pub fn render(template: &str, value: &dyn Fn(&str) -> Result<String, VariableError>) -> Result<String, VariableError> {
    let mut rendered = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let malformed = || VariableError::Template(format!("{template:?} has {{{{ without }}}}"));
        let (name, after) = after.split_once("}}").ok_or_else(malformed)?;
        rendered.push_str(before);
        rendered.push_str(&value(name.trim())?);
        rest = after;
    }
    rendered.push_str(rest);
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_env_file_and_reads_a_file_itself() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "SPIN_VARIABLE_FROM_FILE='a b'\nSPIN_VARIABLE_BOTH=file\n").unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "line\nline\n").unwrap();
        let flags = ["both=flag".to_owned(), format!("secret=@{}", secret.display()), "equals=a=b".to_owned()];
        let provider = Provider::new(&flags, folder.path()).unwrap();
        for (name, value) in [("from_file", "a b"), ("both", "flag"), ("secret", "line\nline\n"), ("equals", "a=b")] {
            assert_eq!(provider.get(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(provider.get("absent"), None);
        assert!(!format!("{provider:?}").contains("flag"));
    }

    #[test]
    fn a_malformed_source_is_an_error_that_shows_no_value() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Provider::new(&["novalue".to_owned()], folder.path()).unwrap_err().contains("NAME=VALUE"));
        assert!(Provider::new(&["k=@/no/such/file".to_owned()], folder.path()).unwrap_err().contains("/no/such/file"));
        std::fs::write(folder.path().join(".env"), "hunter2 hunter2\n").unwrap();
        let error = Provider::new(&[], folder.path()).unwrap_err();
        assert!(error.contains(".env") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn templates_are_replaced_and_an_open_one_is_an_error() {
        let value = |name: &str| Ok(format!("<{name}>"));
        assert_eq!(render("a{{ b }}c{{d}}", &value).as_deref(), Ok("a<b>c<d>"));
        assert!(matches!(render("{{ b", &value), Err(VariableError::Template(_))));
    }
}
