//! The public URL: whether the address that GitHub and Slurm jobs use leads to this application.

use gha_slurm_core::ports::{Clock, Http, HttpMethod, HttpRequest, SendError};
use gha_slurm_core::settings::{Settings, Webhooks};
use gha_slurm_protocol::hex::hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

const CHECK: &str = "public URL";

/// What an application that reads webhooks answers when it is sent one.
const READS: &[u8] = b"webhooks = poll";
const UNENCRYPTED: &str =
    "launch tokens and credentials cross the network unencrypted: put a proxy with TLS in front of it";

/// Sends a signed ping as GitHub does, which only an application with the same webhook secret accepts. One that reads webhooks
/// says so.
pub(super) fn check(native: &Native) -> Finding {
    let Ok(public) = Settings(native).public_url() else {
        return Finding::skipped(CHECK, "set public_url first");
    };
    let (health, hook) = (public.join(".well-known/spin/health"), public.join("api/github/webhooks"));
    let (Ok(health), Ok(hook)) = (health, hook) else {
        return Finding::skipped(CHECK, "fix public_url first");
    };
    let fix = "start the application, check the proxy and the firewall in front of it, or correct public_url";
    match send(native, HttpMethod::Get, health, Vec::new(), Vec::new()) {
        Ok((200, body)) if body == b"OK" => {}
        Ok((status, _)) => {
            let found = format!("{public} answers {status} to the health check: something else is there");
            return Finding::wrong(CHECK, found, fix);
        }
        Err(error) => return Finding::wrong(CHECK, format!("{public} cannot be reached from here: {error}"), fix),
    }
    let plain = public.scheme() == "http" && !is_loopback(&public);
    let is = |what: &str| {
        if plain {
            Finding::ok(CHECK, format!("{public} is {what}, without TLS")).with_hint(UNENCRYPTED)
        } else {
            Finding::ok(CHECK, format!("{public} is {what}"))
        }
    };
    if Settings(native).webhooks().is_ok_and(|webhooks| webhooks == Webhooks::Poll) {
        return match ping(native, hook, "") {
            Ok((404, body)) if body.windows(READS.len()).any(|part| part == READS) => {
                is("an application that reads webhooks")
            }
            Ok(_) => {
                let found = format!("{public} is no application that reads webhooks, or has other variables");
                Finding::wrong(CHECK, found, fix)
            }
            Err(error) => Finding::wrong(CHECK, format!("{public}api/github/webhooks: {error}"), fix),
        };
    }
    let Ok(secret) = Settings(native).webhook_secret() else {
        return Finding::ok(CHECK, format!("{public} answers"))
            .with_hint("whether it is this application can only be checked once there is a GitHub App");
    };
    match ping(native, hook, secret.expose()) {
        Ok((200, _)) => is("this application"),
        Ok((401, _)) => {
            let found =
                format!("{public} has a different webhook secret: it is another application, or has other variables");
            Finding::wrong(CHECK, found, fix)
        }
        Ok((status, _)) => {
            let found = format!("{public}api/github/webhooks answers {status} to a signed ping");
            Finding::wrong(CHECK, found, fix)
        }
        Err(error) => Finding::wrong(CHECK, format!("{public}api/github/webhooks: {error}"), fix),
    }
}

/// Sends a ping that is signed with this secret.
fn ping(native: &Native, hook: Url, secret: &str) -> Result<(u16, Vec<u8>), SendError> {
    let body = br#"{"zen":"gha-slurm doctor"}"#.to_vec();
    // A key of any length is one.
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map(|mac| mac.chain_update(&body).finalize());
    let digest = mac.map(|mac| hex(mac.into_bytes())).unwrap_or_default();
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-github-event", "ping".to_owned()),
        ("x-github-delivery", format!("doctor-{}", native.unix_seconds())),
        ("x-hub-signature-256", format!("sha256={digest}")),
    ];
    send(native, HttpMethod::Post, hook, headers, body)
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
