//! The variables and the profiles: whether they are set, can be read, and make sense.

use gha_slurm::host::private_files::ReadableByOthers;
use gha_slurm_core::ports::Variables;
use gha_slurm_core::settings::{SettingError, Settings};

use super::report::Finding;
use crate::commands::native::Native;

fn of_setting(check: &'static str, error: &SettingError) -> Finding {
    Finding::wrong(check, error.problem(), error.fix())
}

/// All variables except those that name the App.
pub(super) fn variables(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "variables";
    let settings = Settings(native);
    let errors = [
        settings.public_url().err(),
        settings.github_api().err(),
        settings.gateway().err(),
        settings.setup_secret().err(),
        settings.setup_expires().err(),
    ];
    let mut findings: Vec<Finding> = errors.iter().flatten().map(|error| of_setting(CHECK, error)).collect();
    let token = native.variable("admin_token").ok().flatten().filter(|token| !token.trim().is_empty());
    match (token, settings.admin_token()) {
        (None, _) => {
            let hint = "without it there is no periodic repair, and nobody can log in to the console";
            findings.push(Finding::ok(CHECK, "admin_token is not set").with_hint(hint));
        }
        (Some(_), Err(error)) => findings.push(of_setting(CHECK, &error)),
        (Some(_), Ok(_)) if findings.is_empty() => findings.push(Finding::ok(CHECK, "all required variables are set")),
        (Some(_), Ok(_)) => {}
    }
    findings
}

/// Whether the profiles can be read, and whether each of them can get a job.
pub(super) fn profiles(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "profiles";
    let profiles = match Settings(native).profiles() {
        Ok(profiles) => profiles,
        Err(error) => return vec![of_setting(CHECK, &error)],
    };
    let overlaps = profiles.overlaps();
    let mut findings: Vec<Finding> = overlaps
        .iter()
        .filter(|overlap| overlap.unreachable)
        .map(|overlap| {
            let found = format!(
                "{} never gets a job: {} comes first and has all of its labels",
                overlap.later, overlap.earlier
            );
            Finding::wrong(CHECK, found, format!("move {} before {}", overlap.later, overlap.earlier))
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "each profile can get jobs"));
    }
    findings.extend(overlaps.iter().filter(|overlap| !overlap.unreachable).map(|overlap| {
        let labels = overlap.labels.join(", ");
        let found = format!("a job with no labels other than {labels} goes to {}", overlap.earlier);
        Finding::ok(CHECK, found).with_hint(format!("{} could serve it too, but comes later", overlap.later))
    }));
    findings
}

/// A file with secrets that others can read.
pub(super) fn open_file(file: &ReadableByOthers) -> Finding {
    Finding::wrong("files", file.to_string(), format!("chmod go= {}", file.path.display()))
}
