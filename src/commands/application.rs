//! The flags that say which application is meant: those of `up`, for every command that works on one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use gha_slurm::host::variables::Provider;
use gha_slurm::host::{State, runtime_config};

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
    /// Spin's runtime configuration, for a store in Redis: `[key_value_store.default]` with `type = "redis"` and `url`.
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
}

impl Application {
    /// The values of the variables, from the flags, the environment and `.env` in the current folder.
    pub(crate) fn variables(&self) -> Result<Provider, String> {
        Provider::new(&self.variable, Path::new("."))
    }

    /// Where its key-value store is.
    pub(crate) fn state(&self) -> Result<State, String> {
        let state = match &self.state_dir {
            Some(folder) if folder.is_empty() => State::Memory,
            Some(folder) => State::Folder(folder.into()),
            None => State::Folder(self.from.with_file_name(".spin")),
        };
        match (&self.runtime_config_file, state) {
            (Some(file), State::Folder(folder)) => runtime_config::state(file, folder),
            (_, state) => Ok(state),
        }
    }
}
