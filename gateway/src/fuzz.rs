//! What reads text of others, as pure functions for fuzz targets: each takes any bytes and must neither panic nor hang.

use std::path::Path;

use gha_slurm_protocol::messages::StartRunner;

use crate::backend::slurmrestd;
use crate::config::Config;
use crate::launch::{Launch, within};

/// A configuration file, checked as a whole.
pub fn configuration(text: &str) -> Option<Config> {
    Config::parse(text, Path::new("gateway.yaml"), &|_| Some("4d1f0a2b9c8e7f60a1b2c3d4e5f60718".to_owned())).ok()
}

/// The body of `POST /runner/start`, held against empty settings.
pub fn launch_request(body: &[u8]) -> Option<Launch> {
    let asked: StartRunner = serde_json::from_slice(body).ok()?;
    let launch = Launch::try_from(asked).ok()?;
    let _ = within(&crate::config::UserSettings::default(), &launch.resources);
    Some(launch)
}

/// An answer of slurmrestd with that status, read in every way that the gateway reads answers.
pub fn slurmrestd_answer(status: u16, body: &[u8]) {
    slurmrestd::read_in_every_way(status, body);
}
