//! The variables and the profiles: whether they are set, can be read, and make sense.

use gha_slurm::host::private_files::ReadableByOthers;
use gha_slurm_core::cluster::{Definition, How};
use gha_slurm_core::ledger::{Registration, Stored};
use gha_slurm_core::ports::Variables;
use gha_slurm_core::profile::Profile;
use gha_slurm_core::settings::{SettingError, Settings, Webhooks};
use gha_slurm_protocol::messages::RunnerLevel;
use gha_slurm_protocol::secret::Secret;

use super::gateway::variables as gateway_variables;
use super::report::Finding;
use crate::commands::native::Native;

/// Shorter ones can be guessed by trying.
const STRONG_LENGTH: usize = 16;
/// A word or two has more.
const STRONG_VARIETY: usize = 6;

fn of_setting(check: &'static str, error: &SettingError) -> Finding {
    Finding::wrong(check, error.problem(), error.fix())
}

/// The numbers of the gateways that are called. Clusters that cannot be read have a finding of their own.
fn gateways(native: &Native) -> Vec<u8> {
    let Ok(clusters) = Settings(native).cluster_definitions() else { return Vec::new() };
    clusters.iter().filter(|one| one.reach == How::Push).map(Definition::gateway).collect()
}

/// All variables except those that name the App.
pub(super) fn variables(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "variables";
    let settings = Settings(native);
    let gateways: Vec<SettingError> =
        gateways(native).into_iter().filter_map(|number| settings.gateway(number).err()).collect();
    let named = settings.cluster_definitions().is_ok_and(|clusters| clusters.have_names());
    let before = [settings.public_url().err(), settings.github_api().err()];
    let after = [
        settings.webhooks().err(),
        settings.poll_interval().err(),
        settings.commit_status().err(),
        settings.setup_secret().err(),
        settings.setup_expires().err(),
        settings.read_token().err(),
        settings.metrics_token().err(),
        settings.tick_token().err(),
        settings.store_key().err(),
        settings.trusted_proxies().err(),
    ];
    let mut findings: Vec<Finding> = before.into_iter().flatten().map(|error| of_setting(CHECK, &error)).collect();
    findings.extend(gateways.iter().map(|error| {
        let missing =
            matches!(error, SettingError::Variable { name: "gateway_url", problem } if problem == "is not set");
        let instead = if missing && !named { "; or set clusters, if the gateway fetches its launches" } else { "" };
        Finding::wrong(CHECK, error.problem(), format!("{}{instead}", error.fix()))
    }));
    findings.extend(after.into_iter().flatten().map(|error| of_setting(CHECK, &error)));
    let polls = settings.webhooks().is_ok_and(|webhooks| webhooks == Webhooks::Poll);
    let token = native.variable("admin_token").ok().flatten().filter(|token| !token.trim().is_empty());
    match (token, settings.admin_token()) {
        (None, _) if polls && matches!(settings.tick_token(), Ok(None)) => findings.push(Finding::wrong(
            CHECK,
            "webhooks = poll, and neither admin_token nor tick_token is set: no webhook is read",
            "set tick_token to what `openssl rand -hex 32` prints, or admin_token, which opens the console as well",
        )),
        (None, _) => {
            let hint = match settings.tick_token() {
                Ok(Some(_)) => {
                    "without it nobody can log in to the console; tick_token is enough for the periodic repair"
                }
                _ => "without it nobody can log in to the console; the periodic repair needs it or tick_token",
            };
            findings.push(Finding::ok(CHECK, "admin_token is not set").with_hint(hint));
        }
        (Some(_), Err(error)) => findings.push(of_setting(CHECK, &error)),
        (Some(_), Ok(_)) if findings.is_empty() => findings.push(Finding::ok(CHECK, "all required variables are set")),
        (Some(_), Ok(_)) => {}
    }
    findings
}

/// Secrets that somebody could guess. Both sides of each are set by hand, so nothing else refuses a short one.
pub(super) fn weak_secrets(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "secrets";
    let settings = Settings(native);
    let of_gateway = |number: u8| {
        let secret = settings.gateway(number).ok().map(|gateway| gateway.secret);
        (gateway_variables(number).1, secret, "which opens the gateway")
    };
    let webhook = settings.webhook_secret().ok();
    let webhook = ("github_webhook_secret".to_owned(), webhook, "which proves that GitHub sent a webhook");
    let found = gateways(native).into_iter().map(of_gateway).chain([webhook]);
    let weak = |(name, secret, what): (String, Option<Secret>, &str)| {
        let secret = secret?;
        let mut different: Vec<u8> = secret.expose().bytes().collect();
        different.sort_unstable();
        different.dedup();
        let problem = match (secret.expose().len(), different.len()) {
            (length, _) if length < STRONG_LENGTH => format!("has {length} characters, fewer than {STRONG_LENGTH}"),
            (_, kinds) if kinds < STRONG_VARIETY => format!("is made of {kinds} different characters"),
            _ => return None,
        };
        let fix = "set it on both sides to what `openssl rand -hex 32` prints";
        Some(Finding::ok(CHECK, format!("{name}, {what}, {problem}")).with_hint(fix))
    };
    found.filter_map(weak).collect()
}

/// Whether a reader of the store can read the App's private key.
pub(super) fn app_key(native: &Native) -> Option<Finding> {
    const CHECK: &str = "secrets";
    match Registration::new(native).private_key_stored() {
        Ok(Stored::Clear) => {
            let found = "the App's private key is in the store in clear: with the store, a backup of it or the component \
                         webhook, anybody can act as the App at GitHub";
            let fix = "set store_key to what `openssl rand -hex 32` prints: the next tick seals the key";
            Some(Finding::ok(CHECK, found).with_hint(fix))
        }
        Ok(Stored::Sealed) => match Settings(native).app_key() {
            Ok(_) => Some(Finding::ok(CHECK, "the App's private key in the store is sealed")),
            Err(error) => Some(of_setting(CHECK, &error)),
        },
        Ok(Stored::Nothing) | Err(_) => None,
    }
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
    findings.extend(profiles.iter().filter_map(|profile| pool(CHECK, profile)));
    findings.extend(overlaps.iter().filter(|overlap| !overlap.unreachable).map(|overlap| {
        let labels = overlap.labels.join(", ");
        let found = format!("a job with no labels other than {labels} goes to {}", overlap.earlier);
        Finding::ok(CHECK, found).with_hint(format!("{} could serve it too, but comes later", overlap.later))
    }));
    findings
}

/// Whose jobs may get an organization's runner of a profile.
fn pool(check: &'static str, profile: &Profile) -> Option<Finding> {
    if profile.level != Some(RunnerLevel::Organization) {
        return None;
    }
    let name = &profile.name;
    let owners = profile.owners();
    Some(match (&profile.runner_group, owners.len()) {
        (None, _) => {
            let found = format!("{name} registers runners in the default group of the organization");
            let hint = "jobs of every repository that this group is open to may run on them: set runner_group to a group \
                        for the repositories that use the cluster";
            Finding::ok(check, found).with_hint(hint)
        }
        (Some(_), 1) => return None,
        (Some(group), 0) => {
            let found = format!("{name} registers runners in the group {group:?} of each repository's owner");
            let hint = "an organization without that group, and a personal account, gets none: set repositories, such as \
                        [\"our-org/*\"]";
            Finding::ok(check, found).with_hint(hint)
        }
        (Some(group), _) => {
            let found = format!("{name} registers runners at several organizations: {}", owners.join(", "));
            Finding::ok(check, found).with_hint(format!("each of them needs a runner group {group:?}"))
        }
    })
}

/// A file with secrets that others can read.
pub(super) fn open_file(file: &ReadableByOthers) -> Finding {
    Finding::wrong("files", file.to_string(), format!("chmod go= {}", file.path.display()))
}
