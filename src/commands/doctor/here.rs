//! What this side has to be right about: variables, profiles, the way to the gateway, the address that others use.

use gha_slurm_core::gateway::{GatewayError, check_gateway};
use gha_slurm_core::ledger::{Registration, Stored};
use gha_slurm_core::ports::{Clock, Http, HttpMethod, HttpRequest, SendError, Variables};
use gha_slurm_core::settings::{SettingError, Settings};
use gha_slurm_protocol::hex::hex;
use gha_slurm_protocol::secret::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

/// Shorter ones are guessed by trying.
const STRONG_LENGTH: usize = 12;
/// A word or two has more.
const STRONG_VARIETY: usize = 6;

fn of_setting(check: &'static str, error: &SettingError) -> Finding {
    Finding::wrong(check, error.problem(), error.mend())
}

/// All but those that name the App.
pub(super) fn variables(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "variables";
    let settings = Settings(native);
    let errors = [
        settings.public_url().err(),
        settings.github_api().err(),
        settings.gateway().err(),
        settings.setup_secret().err(),
        settings.setup_expires().err(),
        settings.read_token().err(),
        settings.metrics_token().err(),
        settings.tick_token().err(),
        settings.store_key().err(),
        settings.trusted_proxies().err(),
    ];
    let mut findings: Vec<Finding> = errors.iter().flatten().map(|error| of_setting(CHECK, error)).collect();
    let token = native.variable("admin_token").ok().flatten().filter(|token| !token.trim().is_empty());
    match (token, settings.admin_token()) {
        (None, _) => {
            let hint = "without admin_token nothing is repaired, and the console lets nobody in";
            findings.push(Finding::ok(CHECK, "admin_token is not set").with_hint(hint));
        }
        (Some(_), Err(error)) => findings.push(of_setting(CHECK, &error)),
        (Some(_), Ok(_)) if findings.is_empty() => findings.push(Finding::ok(CHECK, "all that are needed are set")),
        (Some(_), Ok(_)) => {}
    }
    findings
}

/// Secrets that somebody could guess. Both sides of each are set by hand, so nothing else refuses a short one.
pub(super) fn weak_secrets(native: &Native) -> Vec<Finding> {
    const CHECK: &str = "secrets";
    let settings = Settings(native);
    let found = [
        ("gateway_secret", settings.gateway().ok().map(|gateway| gateway.secret), "what opens the gateway"),
        ("github_webhook_secret", settings.webhook_secret().ok(), "what proves that GitHub sent a webhook"),
    ];
    let weak = |(name, secret, what): (&str, Option<Secret>, &str)| {
        let secret = secret?;
        let mut different: Vec<u8> = secret.expose().bytes().collect();
        different.sort_unstable();
        different.dedup();
        let problem = match (secret.expose().len(), different.len()) {
            (length, _) if length < STRONG_LENGTH => format!("has {length} characters, fewer than {STRONG_LENGTH}"),
            (_, kinds) if kinds < STRONG_VARIETY => format!("is made of {kinds} different characters"),
            _ => return None,
        };
        let mend = "set it on both sides to what `openssl rand -hex 32` prints";
        Some(Finding::ok(CHECK, format!("{name}, {what}, {problem}")).with_hint(mend))
    };
    found.into_iter().filter_map(weak).collect()
}

/// Whether the App's private key is readable for whoever reads the store.
pub(super) fn app_key(native: &Native) -> Option<Finding> {
    const CHECK: &str = "secrets";
    match Registration::new(native).private_key_stored() {
        Ok(Stored::Clear) => {
            let found = "the App's private key is in the store in clear: whoever reads the store, a backup of it or the \
                         component webhook, is the App at GitHub";
            let mend = "set store_key to what `openssl rand -hex 32` prints: the next tick seals the key";
            Some(Finding::ok(CHECK, found).with_hint(mend))
        }
        Ok(Stored::Sealed) => match Settings(native).app_key() {
            Ok(_) => Some(Finding::ok(CHECK, "the App's private key in the store is sealed")),
            Err(error) => Some(of_setting(CHECK, &error)),
        },
        Ok(Stored::Nothing) | Err(_) => None,
    }
}

/// Whether they can be read, and whether each can get a job.
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
            let found =
                format!("{} never gets a job: {} takes all of its labels first", overlap.later, overlap.earlier);
            Finding::wrong(CHECK, found, format!("put {} before {}", overlap.later, overlap.earlier))
        })
        .collect();
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "each can get jobs"));
    }
    findings.extend(overlaps.iter().filter(|overlap| !overlap.unreachable).map(|overlap| {
        let labels = overlap.labels.join(", ");
        let found = format!("a job with no other labels than {labels} goes to {}", overlap.earlier);
        Finding::ok(CHECK, found).with_hint(format!("{} could serve it as well, but stands later", overlap.later))
    }));
    findings
}

pub(super) fn gateway(native: &Native) -> Finding {
    const CHECK: &str = "gateway";
    let Ok(gateway) = Settings(native).gateway() else {
        return Finding::skipped(CHECK, "gateway_url and gateway_secret come first");
    };
    let url = gateway.url.origin().ascii_serialization();
    let own_check = "what is behind it, `gha-slurm-gateway check` says on its machine";
    match check_gateway(native, &gateway, DEADLINE) {
        Ok(()) => Finding::ok(CHECK, format!("{url} answers and takes the secret")).with_hint(own_check),
        Err(error @ GatewayError::Unauthorized) => {
            let mend = "set gateway_secret to the gateway's ghaSharedSecret";
            Finding::wrong(CHECK, format!("{url}: {error}"), mend)
        }
        Err(GatewayError::Unreachable(error)) => {
            let mend = "start it, let this machine through its firewall, or correct gateway_url";
            Finding::wrong(CHECK, format!("{url} cannot be reached: {error}"), mend)
        }
        Err(error) => {
            let mend = "correct gateway_url, or see the gateway's log";
            Finding::wrong(CHECK, format!("{url}: {error}"), mend)
        }
    }
}

/// Whether the address that GitHub and Slurm jobs use leads to this application: by a delivery of GitHub's kind that only
/// who has the webhook secret accepts.
pub(super) fn public_url(native: &Native) -> Finding {
    const CHECK: &str = "public URL";
    let Ok(public) = Settings(native).public_url() else {
        return Finding::skipped(CHECK, "public_url comes first");
    };
    let (health, hook) = (public.join(".well-known/spin/health"), public.join("api/github/webhooks"));
    let (Ok(health), Ok(hook)) = (health, hook) else {
        return Finding::skipped(CHECK, "public_url is no base URL");
    };
    let mend = "start the application, point the proxy and the firewall at it, or correct public_url";
    match send(native, HttpMethod::Get, health, Vec::new(), Vec::new()) {
        Ok((200, body)) if body == b"OK" => {}
        Ok((status, _)) => {
            let found = format!("{public} answers {status} where the application says OK: something else is there");
            return Finding::wrong(CHECK, found, mend);
        }
        Err(error) => return Finding::wrong(CHECK, format!("{public} cannot be reached from here: {error}"), mend),
    }
    let Ok(secret) = Settings(native).webhook_secret() else {
        return Finding::ok(CHECK, format!("{public} answers"))
            .with_hint("whether it is this application can be told once there is a GitHub App");
    };
    let body = br#"{"zen":"gha-slurm doctor"}"#.to_vec();
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return Finding::skipped(CHECK, "the webhook secret is no key");
    };
    let digest = hex(mac.chain_update(&body).finalize().into_bytes());
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-github-event", "ping".to_owned()),
        ("x-github-delivery", format!("doctor-{}", native.unix_seconds())),
        ("x-hub-signature-256", format!("sha256={digest}")),
    ];
    let plain = public.scheme() == "http" && !is_loopback(&public);
    match send(native, HttpMethod::Post, hook, headers, body) {
        Ok((200, _)) if plain => Finding::ok(CHECK, format!("{public} is this application, without TLS"))
            .with_hint("launch tokens and credentials cross the network readable: put a proxy with TLS before it"),
        Ok((200, _)) => Finding::ok(CHECK, format!("{public} is this application")),
        Ok((401, _)) => {
            let found = format!("{public} has another webhook secret: another application, or other variables");
            Finding::wrong(CHECK, found, mend)
        }
        Ok((status, _)) => {
            let found = format!("{public}api/github/webhooks answers {status} to a signed ping");
            Finding::wrong(CHECK, found, mend)
        }
        Err(error) => Finding::wrong(CHECK, format!("{public}api/github/webhooks: {error}"), mend),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn send(
    native: &Native,
    method: HttpMethod,
    url: Url,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), SendError> {
    let response = native.send(&HttpRequest { method, url, headers, body, deadline: DEADLINE })?;
    Ok((response.status, response.body))
}
