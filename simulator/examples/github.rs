//! The simulated GitHub by itself, to try an app and a cluster by hand without the real one.
//!
//! `cargo run -p gha-slurm-simulator --example github -- http://127.0.0.1:3000/api/github/webhooks FOLDER`
//! puts the App's key and the runner's stand-in into FOLDER, prints the variables to start the app with, and queues a
//! job for each line of labels (`self-hosted,slurm`) that it reads.
//!
//! With `unreachable` in place of the URL, GitHub reaches no app: its deliveries fail and can be read from its list.
//! `--statuses` gives the App the permission to set commit statuses.

use std::path::Path;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{APP_ID, GitHub};
use gha_slurm_simulator::runner;

const REPOSITORY: &str = "octo-org/simulation";
const WEBHOOK_SECRET: &str = "simulated";

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let (flags, arguments): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let statuses = flags == ["--statuses"];
    let [webhook_url, folder] = arguments.as_slice() else { usage() };
    if !statuses && !flags.is_empty() {
        usage();
    }
    let folder = Path::new(folder);
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await?;
    let unreachable = webhook_url == "unreachable";
    github.set_webhook_url(if unreachable { "https://gha-slurm.invalid/api/github/webhooks" } else { webhook_url });
    if statuses {
        github.set_permission("statuses", Some("write"));
    }
    runner::install(&folder.join("actions-runner"))?;
    std::fs::write(folder.join("app.pem"), github.private_key().unwrap_or_default())?;
    println!("SPIN_VARIABLE_GITHUB_API_URL={}", github.url());
    println!("SPIN_VARIABLE_GITHUB_APP_ID={APP_ID}");
    println!("SPIN_VARIABLE_GITHUB_WEBHOOK_SECRET={WEBHOOK_SECRET}");
    if unreachable {
        println!("SPIN_VARIABLE_WEBHOOKS=poll");
    }
    if statuses {
        println!("SPIN_VARIABLE_COMMIT_STATUS=on");
    }
    println!("# The runner's stand-in finds GitHub by {}={}", runner::GITHUB_VARIABLE, github.url());
    let mut happening = events.subscribe();
    tokio::spawn(async move {
        while let Ok(event) = happening.recv().await {
            println!("{event:?}");
        }
    });
    for line in std::io::stdin().lines() {
        let line = line?;
        let labels: Vec<&str> = line.split(',').map(str::trim).filter(|label| !label.is_empty()).collect();
        if !labels.is_empty() {
            github.queue_job(REPOSITORY, &labels).await;
        }
    }
    // Served on until it is stopped.
    std::future::pending().await
}

fn usage() -> ! {
    eprintln!("usage: github [--statuses] WEBHOOK_URL|unreachable FOLDER");
    std::process::exit(2)
}
