//! The flags that say which application is meant: those of `up`, for every command that works on one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use gha_slurm::host::State;
use gha_slurm::host::private_files::{self, ReadableByOthers};
use gha_slurm::host::runtime_config::RuntimeConfig;
use gha_slurm::host::variables::{self, Provider};

#[derive(Args)]
pub(crate) struct Application {
    /// The application's manifest.
    #[arg(short, long, value_name = "FILE", default_value = "spin.toml")]
    pub(crate) from: PathBuf,
    /// Set a variable: NAME=VALUE or NAME=@FILE. Put secrets in a file or in SPIN_VARIABLE_NAME: other users can read
    /// command lines.
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// The folder of the key-value store [default: .spin next to the manifest]; empty keeps the store in memory.
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<OsString>,
    /// Spin's runtime configuration: a store in Redis (`[key_value_store.default]` with `type = "redis"` and `url`), and whose
    /// certificates are trusted (`[[client_tls]]`).
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
}

impl Application {
    /// The values of the variables, from the flags, the environment and `.env` in the current folder.
    pub(crate) fn variables(&self) -> Result<Provider, String> {
        Provider::new(&self.variable, Path::new("."))
    }

    /// What the runtime configuration says.
    pub(crate) fn runtime_config(&self) -> Result<RuntimeConfig, String> {
        self.runtime_config_file.as_deref().map(RuntimeConfig::read).transpose().map(Option::unwrap_or_default)
    }

    /// Where its key-value store is.
    pub(crate) fn state(&self, config: &RuntimeConfig) -> State {
        match &self.state_dir {
            Some(folder) if folder.is_empty() => State::Memory,
            Some(folder) => config.state(folder.into()),
            None => config.state(self.from.with_file_name(".spin")),
        }
    }

    /// Files with secrets that other users of this machine can read.
    pub(crate) fn open_secrets(&self, config: &RuntimeConfig) -> Vec<ReadableByOthers> {
        let with_secrets = self.runtime_config_file.as_deref().filter(|_| config.holds_secrets());
        let files = [Some(Path::new(variables::FILE)), with_secrets];
        files.into_iter().flatten().filter_map(private_files::readable_by_others).collect()
    }
}
