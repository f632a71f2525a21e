//! The GitHub App: its key, its permissions, where its webhook goes and whether it arrives; and the clock.

use gha_slurm_core::github::client::{AppState, GitHub, GitHubError};
use gha_slurm_core::github::deliveries::DeliveryEntry;
use gha_slurm_core::github::requirements::{EVENTS, RUNNERS, permissions};
use gha_slurm_core::ports::Clock;
use gha_slurm_core::settings::{Settings, Webhooks};
use gha_slurm_overview::{Arrival, reading};
use gha_slurm_protocol::messages::RunnerLevel;
use gha_slurm_protocol::secret::Secret;
use url::Url;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

const APP: &str = "App";
const CLOCK: &str = "clock";
const WEBHOOK: &str = "webhook";
const DELIVERIES: &str = "deliveries";

/// An App JWT begins a minute in the past and ends nine minutes in the future; GitHub takes ten.
const TOLERATED_SECONDS: i64 = 30;
/// A list that was not read for so long is not being read. While GitHub does not answer, that is tried once a minute.
const NOT_READ_SECONDS: u64 = 180;

pub(super) fn check(native: &Native) -> Vec<Finding> {
    let settings = Settings(native);
    let (github, key) = match (settings.github(), settings.app_key()) {
        (Ok(github), Ok(key)) => (github, key),
        (Err(error), _) | (_, Err(error)) => {
            let mut findings = vec![Finding::wrong(APP, error.problem(), error.fix())];
            findings.extend([CLOCK, WEBHOOK, DELIVERIES].map(|check| Finding::skipped(check, "fix the App first")));
            return findings;
        }
    };
    let api = github.api.origin().ascii_serialization();
    let client = GitHub::new(native, github, DEADLINE * 3);
    let asked = client.app_jwt(&key).and_then(|(jwt, _)| Ok((client.app(&jwt)?, jwt)));
    let clock = clock(native, &api);
    let (app, jwt) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let mut findings = vec![refused(native, &api, &error)];
            findings.push(clock.unwrap_or_else(|| Finding::skipped(CLOCK, "GitHub sent no time")));
            findings.extend([WEBHOOK, DELIVERIES].map(|check| Finding::skipped(check, "fix the App first")));
            return findings;
        }
    };
    // Profiles that cannot be read have a finding of their own.
    let levels = settings.profiles().map_or_else(|_| vec![RunnerLevel::Repository], |profiles| profiles.levels());
    // A value that is neither has a finding of its own.
    let statuses = settings.commit_status().unwrap_or_default();
    let mut findings = allowed(&app, &levels, statuses);
    findings.extend(clock);
    // A value that is neither has a finding of its own.
    match settings.webhooks().unwrap_or_default() {
        Webhooks::Receive => {
            findings.push(webhook(native, &client, &jwt, &app));
            findings.push(deliveries(&client, &jwt, &app));
        }
        Webhooks::Poll => {
            findings.push(recording(&client, &jwt, &app));
            // Where the store does not answer, its own check says so.
            let arrival = reading(native).ok().flatten();
            findings.push(polled(&client, &jwt, arrival.as_ref(), native.unix_seconds()));
        }
    }
    findings
}

fn refused(native: &Native, api: &str, error: &GitHubError) -> Finding {
    let fix = match error {
        GitHubError::Unauthorized(_) if skewed(native) => "set this machine's clock first (see below)",
        GitHubError::Unauthorized(_) | GitHubError::NotFound(_) => {
            "github_app_id and github_private_key must belong to the same App: generate a new key in the App's settings"
        }
        GitHubError::Unavailable { .. } => {
            "check that this machine can reach GitHub, or correct github_api_url; then try again"
        }
        GitHubError::Refused(_) | GitHubError::Setting(_) => "see GitHub's message",
    };
    Finding::wrong(APP, format!("{api}: {error}"), fix)
}

fn skewed(native: &Native) -> bool {
    native.clock_ahead().is_some_and(|ahead| ahead.abs() > TOLERATED_SECONDS)
}

fn clock(native: &Native, api: &str) -> Option<Finding> {
    let ahead = native.clock_ahead()?;
    Some(if skewed(native) {
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        // Rounded to ten seconds: the answer takes time to arrive.
        let about = (ahead.abs() + 5) / 10 * 10;
        let found = format!("this machine's clock is about {about} s {way} that of {api}");
        Finding::wrong(CLOCK, found, "synchronize it with NTP: `timedatectl set-ntp true`, or chrony")
    } else {
        Finding::ok(CLOCK, format!("agrees with {api}"))
    })
}

fn allowed(app: &AppState, levels: &[RunnerLevel], statuses: bool) -> Vec<Finding> {
    let settings_page = app.html_url.as_str();
    let mut findings = Vec::new();
    for (name, needed) in permissions(levels, statuses) {
        let level = app.permissions.get(name).map(String::as_str);
        if level != Some(needed) && level != Some("write") {
            let found = format!("{}: the permission {name} is {}, not {needed}", app.name, level.unwrap_or("missing"));
            let mut fix =
                format!("grant it in the App's settings ({settings_page}), then accept it in the installation");
            if name == "administration" && app.permissions.contains_key("organization_self_hosted_runners") {
                fix = format!("set level = \"organization\" in each profile, as the App is made for that; or {fix}");
            }
            findings.push(Finding::wrong(APP, found, fix));
        }
    }
    for event in EVENTS.iter().filter(|event| !app.events.iter().any(|has| has == *event)) {
        let found = format!("{} is not subscribed to the event {event}", app.name);
        let fix = format!("under \"Subscribe to events\" in the App's settings ({settings_page}), select {event}");
        findings.push(Finding::wrong(APP, found, fix));
    }
    if app.installations_count == Some(0) {
        let fix = format!("install it: {settings_page}/installations/new");
        findings.push(Finding::wrong(APP, format!("{} is not installed anywhere", app.name), fix));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(APP, format!("{}: key, permissions and events are correct", app.name)));
        findings.extend(superfluous(app, levels));
    }
    findings
}

/// Permissions for runners at a level that no profile has.
fn superfluous(app: &AppState, levels: &[RunnerLevel]) -> Vec<Finding> {
    let of = |(level, name): &(RunnerLevel, &str)| {
        let held = app.permissions.get(*name).filter(|_| !levels.contains(level))?;
        let why = match level {
            RunnerLevel::Repository => {
                "every profile has level organization, and with it the App's key can delete repositories"
            }
            RunnerLevel::Organization => "no profile has level organization",
        };
        let found = format!("{name}: {held} is not needed: {why}");
        Some(
            Finding::ok(APP, found)
                .with_hint(format!("set it to \"No access\" in the App's settings ({})", app.html_url)),
        )
    };
    RUNNERS.iter().filter_map(of).collect()
}

fn webhook(native: &Native, client: &GitHub<'_, Native>, jwt: &Secret, app: &AppState) -> Finding {
    let Some(expected) = Settings(native).public_url().ok().and_then(|url| url.join("api/github/webhooks").ok()) else {
        return Finding::skipped(WEBHOOK, "set public_url first");
    };
    let config = match client.hook_config(jwt) {
        Ok(config) => config,
        Err(error) => return Finding::wrong(WEBHOOK, error.to_string(), "try again later"),
    };
    let url = config.url.unwrap_or_default();
    let fix = format!("set the webhook URL in the App's settings ({}), or correct public_url", app.html_url);
    if url.trim_end_matches('/') != expected.as_str().trim_end_matches('/') {
        let url = if url.is_empty() { "nowhere" } else { &url };
        return Finding::wrong(WEBHOOK, format!("goes to {url}, not to {expected}"), fix);
    }
    match config.content_type.as_deref() {
        Some("json") => Finding::ok(WEBHOOK, format!("goes to {expected}")),
        other => {
            let found = format!("is sent as {}", other.unwrap_or("something else"));
            Finding::wrong(WEBHOOK, found, "set its content type to application/json in the App's settings")
        }
    }
}

/// Whether GitHub records deliveries, so that they can be read. It does not tell whether the webhook is active.
fn recording(client: &GitHub<'_, Native>, jwt: &Secret, app: &AppState) -> Finding {
    let config = match client.hook_config(jwt) {
        Ok(config) => config,
        Err(error) => return Finding::wrong(WEBHOOK, error.to_string(), "try again later"),
    };
    match config.url.as_deref().filter(|url| !url.is_empty()).map(Url::parse) {
        None => {
            let fix = format!(
                "in the App's settings ({}), under Webhook, check Active and set the URL https://gha-slurm.invalid/: \
                 GitHub records deliveries of an active webhook alone",
                app.html_url
            );
            Finding::wrong(WEBHOOK, "leads nowhere, so there are no deliveries to read", fix)
        }
        Some(Ok(url)) if url.domain().is_some_and(|host| host.ends_with(".invalid")) => {
            Finding::ok(WEBHOOK, "leads nowhere on purpose (webhooks = poll)")
        }
        Some(Ok(url)) => {
            let host = url.host_str().unwrap_or_default();
            Finding::ok(WEBHOOK, format!("webhooks = poll, and GitHub sends them to {host} besides")).with_hint(
                format!(
                    "if nobody needs them there, set the URL https://gha-slurm.invalid/ in the App's settings ({})",
                    app.html_url
                ),
            )
        }
        Some(Err(error)) => {
            let fix = format!("set the URL https://gha-slurm.invalid/ in the App's settings ({})", app.html_url);
            Finding::wrong(WEBHOOK, format!("the URL is malformed: {error}"), fix)
        }
    }
}

/// Whether deliveries are read.
fn polled(client: &GitHub<'_, Native>, jwt: &Secret, arrival: Option<&Arrival>, now: u64) -> Finding {
    let newest = match client.deliveries(jwt, None) {
        Ok(page) => page.deliveries.first().and_then(DeliveryEntry::at),
        Err(error) => return Finding::wrong(DELIVERIES, error.to_string(), "try again later"),
    };
    let ago = |at: u64| match now.saturating_sub(at) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3600),
    };
    let fix = "`gha-slurm up` reads them: start it, or see its log; under Spin, have POST /internal/deliveries called";
    match arrival.filter(|arrival| arrival.mode == Webhooks::Poll) {
        None => Finding::wrong(DELIVERIES, "GitHub's list of them was never read", fix),
        // A reading that finds nothing new is noted once a minute.
        Some(arrival) if now.saturating_sub(arrival.read_at) > NOT_READ_SECONDS => {
            Finding::wrong(DELIVERIES, format!("GitHub's list of them was last read {}", ago(arrival.read_at)), fix)
        }
        Some(arrival) if arrival.behind > 0 => {
            let found = format!("read from GitHub's list; about {} wait to be read", arrival.behind);
            Finding::ok(DELIVERIES, found).with_hint("they are read in order, as fast as GitHub's limits allow")
        }
        Some(_) => match newest {
            Some(at) => Finding::ok(DELIVERIES, format!("read from GitHub's list; the newest was made {}", ago(at))),
            None => Finding::ok(DELIVERIES, "read from GitHub's list; none in the last three days").with_hint(
                "GitHub makes the first one when a job is queued in a repository of the installation, if the webhook is \
                 active",
            ),
        },
    }
}

fn deliveries(client: &GitHub<'_, Native>, jwt: &Secret, app: &AppState) -> Finding {
    let page = match client.deliveries(jwt, None) {
        Ok(page) => page,
        Err(error) => return Finding::wrong(DELIVERIES, error.to_string(), "try again later"),
    };
    let failed: Vec<&DeliveryEntry> = page.deliveries.iter().filter(|delivery| delivery.status != "OK").collect();
    let all = page.deliveries.len();
    match (page.deliveries.first(), failed.first()) {
        (None, _) => Finding::ok(DELIVERIES, "none in the last three days")
            .with_hint("GitHub sends the first one when a job is queued in a repository of the installation"),
        (Some(_), None) => Finding::ok(DELIVERIES, format!("the last {all} arrived")),
        (Some(last), Some(failure)) if last.id != failure.id => {
            let found = format!("the last one arrived; {} of the last {all} failed", failed.len());
            Finding::ok(DELIVERIES, found).with_hint("the periodic repair reads them from GitHub's list")
        }
        (Some(last), Some(_)) => {
            let fix = match last.status_code {
                0 => "GitHub cannot reach the webhook URL: see \"public URL\" below, the proxy and the firewall"
                    .to_owned(),
                401 => "set github_webhook_secret to the App's webhook secret: they differ".to_owned(),
                404 | 405 => "something else answers at the webhook URL: see \"webhook\" and \"public URL\"".to_owned(),
                _ => format!("see the response under Advanced in the App's settings ({})", app.html_url),
            };
            let code = last.status_code;
            let answer = if code == 0 { last.status.clone() } else { format!("status {code}") };
            Finding::wrong(
                DELIVERIES,
                format!("the last one failed ({answer}); {} of the last {all} failed", failed.len()),
                fix,
            )
        }
    }
}
