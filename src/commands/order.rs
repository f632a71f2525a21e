//! `gha-slurm stop`, `resume` and `revoke`: the operator's orders, which the app carries out.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gha_slurm::host::outbound::Client;
use gha_slurm::host::variables::Provider;
use gha_slurm_core::ports::{HttpMethod, HttpRequest};
use gha_slurm_protocol::identity::RepositoryName;
use serde_json::{Value, json};
use url::Url;

use super::native::exchange;

#[derive(Args)]
pub(crate) struct Target {
    /// The app's URL [default: the variable public_url, otherwise http://127.0.0.1:3000].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The admin token, or @FILE [default: the variable admin_token]. Other users can read command lines.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// The repository; without one, all of them.
    #[arg(value_name = "OWNER/REPO")]
    repository: Option<String>,
    #[command(flatten)]
    target: Target,
}

const DEADLINE: Duration = Duration::from_secs(15);
const USAGE: u8 = 2;

/// Stops launches, and refuses launch tokens that are out.
pub(crate) fn stop(arguments: &Arguments) -> ExitCode {
    about("stop", arguments, "No launch is submitted, and no launch token is exchanged, until `gha-slurm resume`")
}

/// Resumes launches.
pub(crate) fn resume(arguments: &Arguments) -> ExitCode {
    about("resume", arguments, "Launches continue")
}

/// Revokes every launch token that was issued so far.
pub(crate) fn revoke(target: &Target) -> ExitCode {
    let done = send("revoke", target, None);
    finish("revoke", done, "Every launch token that was issued so far is revoked; the next launch makes another key")
}

fn about(order: &str, arguments: &Arguments, done: &str) -> ExitCode {
    let body = match arguments.repository.clone().map(RepositoryName::try_from).transpose() {
        Ok(repository) => repository.map(|name| json!({ "repository": name })),
        Err(error) => return finish(order, Err((format!("the repository: {error}"), USAGE)), done),
    };
    let of = arguments.repository.as_deref().map_or_else(|| "all repositories".to_owned(), str::to_owned);
    finish(order, send(order, &arguments.target, body), &format!("{of}: {done}"))
}

fn finish(order: &str, sent: Result<(), (String, u8)>, done: &str) -> ExitCode {
    match sent {
        Ok(()) => {
            println!("{done}.");
            ExitCode::SUCCESS
        }
        Err((message, status)) => {
            eprintln!("gha-slurm {order}: {message}");
            ExitCode::from(status)
        }
    }
}

fn send(order: &str, target: &Target, body: Option<Value>) -> Result<(), (String, u8)> {
    let usage = |message: String| (message, USAGE);
    let failed = |message: String| (message, 1);
    let (base, token) = target.resolve().map_err(usage)?;
    let url = base.join(&format!("api/v1/{order}")).map_err(|error| usage(error.to_string()))?;
    let headers = vec![("authorization", format!("Bearer {token}")), ("content-type", "application/json".to_owned())];
    let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = HttpRequest { method: HttpMethod::Post, url, headers, body, deadline: DEADLINE };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(error.to_string()))?;
    let client = Client::new(1, Vec::new()).map_err(|error| usage(error.to_string()))?;
    let answered = runtime.block_on(async { tokio::time::timeout(DEADLINE, exchange(&client, &request)).await });
    let response = answered
        .map_err(|_| failed(format!("{base} did not answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| failed(format!("{base}: {error}; use --url if the app is elsewhere")))?;
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let said = body.get("error").and_then(Value::as_str).unwrap_or("(no reason given)");
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    match response.status {
        200 => Ok(()),
        401 => Err(usage(format!("{base} does not accept this admin token"))),
        status => Err(failed(format!("{base} answers {status}: {said}"))),
    }
}

impl Target {
    /// Where the app is, and the admin token.
    pub(super) fn resolve(&self) -> Result<(Url, String), String> {
        let variables = Provider::new(&[], Path::new("."))?;
        let token = match &self.admin_token {
            Some(given) => match given.strip_prefix('@') {
                Some(file) => {
                    Some(std::fs::read_to_string(file).map_err(|error| format!("--admin-token {file}: {error}"))?)
                }
                None => Some(given.clone()),
            },
            None => variables.get("admin_token"),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).ok_or(
            "the admin token is missing: set SPIN_VARIABLE_ADMIN_TOKEN in the environment or in .env, or use --admin-token \
             @FILE",
        )?;
        let base = self.url.clone().or_else(|| variables.get("public_url")).filter(|url| !url.is_empty());
        let base = base.unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
        let url = Url::parse(&format!("{}/", base.trim().trim_end_matches('/')))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| format!("{base:?} is not a URL such as https://app.example"))?;
        Ok((url, token))
    }
}
