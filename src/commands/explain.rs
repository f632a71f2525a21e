//! `gha-slurm explain`: asks the app why a job does not run, and prints its answer.
//!
//! The app knows the facts, and may ask GitHub and the gateway; none of that is repeated here. The text for people and the
//! output of `--json` are the same answer.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gha_slurm::host::outbound::Client;
use gha_slurm::host::variables::Provider;
use gha_slurm_console::explain::Explained;
use gha_slurm_core::ports::{HttpMethod, HttpRequest};
use gha_slurm_protocol::identity::RepositoryName;
use url::Url;

use super::native::exchange;
use super::progress::Progress;

#[derive(Args)]
pub(crate) struct Arguments {
    /// The job's repository.
    #[arg(value_name = "OWNER/REPO")]
    repository: String,
    /// The ID of the job or of its run, from the URL of its page.
    #[arg(value_name = "RUN_OR_JOB")]
    id: u64,
    /// The app's URL [default: the variable public_url, otherwise http://127.0.0.1:3000].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The admin token, or @FILE [default: the variable admin_token]. Other users can read command lines.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// Print the app's answer as JSON.
    #[arg(long)]
    json: bool,
}

/// The app asks GitHub and the gateway before it answers.
const DEADLINE: Duration = Duration::from_secs(30);
const USAGE: u8 = 2;

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match explain(arguments) {
        Ok(text) => {
            // The reader may have gone.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err((message, status)) => {
            eprintln!("gha-slurm explain: {message}");
            ExitCode::from(status)
        }
    }
}

fn explain(arguments: &Arguments) -> Result<String, (String, u8)> {
    let usage = |message: String| (message, USAGE);
    let failed = |message: String| (message, 1);
    let (url, request) = request(arguments).map_err(usage)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(error.to_string()))?;
    let progress = Progress::new();
    progress.say(&format!("asking {url}"));
    let client = Client::new(1, Vec::new()).map_err(|error| usage(error.to_string()))?;
    let answered = runtime.block_on(async { tokio::time::timeout(DEADLINE, exchange(&client, &request)).await });
    drop(progress);
    let response = answered
        .map_err(|_| failed(format!("{url} did not answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| failed(format!("{url}: {error}; use --url if the app is elsewhere")))?;
    let said = || {
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let error = body.get("error").and_then(serde_json::Value::as_str).unwrap_or("(no reason given)");
        error.chars().filter(|c| !c.is_control()).take(300).collect::<String>()
    };
    match response.status {
        200 => {}
        401 => return Err(usage(format!("{url} does not accept this admin token"))),
        status => return Err(failed(format!("{url} answers {status}: {}", said()))),
    }
    let explained: Explained = serde_json::from_slice(&response.body)
        .map_err(|_| failed(format!("{url} is not gha-slurm of this version: its answer is not an explanation")))?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&explained).map_err(|error| failed(error.to_string()))?;
        return Ok(format!("{json}\n"));
    }
    Ok(explained.to_string())
}

/// Where to ask, and the question.
fn request(arguments: &Arguments) -> Result<(Url, HttpRequest), String> {
    let repository = RepositoryName::try_from(arguments.repository.clone())
        .map_err(|error| format!("{:?}: {error}", arguments.repository))?;
    let variables = Provider::new(&[], Path::new("."))?;
    let token = match &arguments.admin_token {
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
    let base = arguments.url.clone().or_else(|| variables.get("public_url")).filter(|url| !url.is_empty());
    let base = base.unwrap_or_else(|| "http://127.0.0.1:3000".to_owned());
    let base = Url::parse(&format!("{}/", base.trim().trim_end_matches('/')))
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| format!("{base:?} is not a URL such as https://app.example"))?;
    let mut url = base.join("api/v1/explain").map_err(|error| error.to_string())?;
    url.query_pairs_mut()
        .append_pair("repository", &repository.to_string())
        .append_pair("id", &arguments.id.to_string());
    let headers = vec![("authorization", format!("Bearer {token}"))];
    let request = HttpRequest { method: HttpMethod::Get, url, headers, body: Vec::new(), deadline: DEADLINE };
    Ok((base, request))
}
