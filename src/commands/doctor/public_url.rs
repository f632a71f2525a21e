//! The public URL: whether the address that GitHub and Slurm jobs use leads to this application.

use gha_slurm_core::ports::{Clock, Http, HttpMethod, HttpRequest, SendError};
use gha_slurm_core::settings::Settings;
use gha_slurm_protocol::hex::hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

const CHECK: &str = "public URL";

/// Sends a signed ping as GitHub does, which only an application with the same webhook secret accepts.
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
    let Ok(secret) = Settings(native).webhook_secret() else {
        return Finding::ok(CHECK, format!("{public} answers"))
            .with_hint("whether it is this application can only be checked once there is a GitHub App");
    };
    let body = br#"{"zen":"gha-slurm doctor"}"#.to_vec();
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
        return Finding::skipped(CHECK, "the webhook secret cannot be used as a key");
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
        Ok((200, _)) if plain => Finding::ok(CHECK, format!("{public} is this application, without TLS")).with_hint(
            "launch tokens and credentials cross the network unencrypted: put a proxy with TLS in front of it",
        ),
        Ok((200, _)) => Finding::ok(CHECK, format!("{public} is this application")),
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
