//! Pictures of the console, to be looked at: `GHA_SLURM_PICTURES=FOLDER cargo test --release --test browser -- pictures`.
//! Without the variable it is ignored. `docs/console.png` is `desktop-light.png` of such a run.

use std::path::PathBuf;
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::gateway::Fault;
use gha_slurm_simulator::github::GitHub;
use serde_json::json;

use crate::browser::Browser;
use crate::console::{in_progress, log_in};
use crate::support::{App, WEBHOOK_SECRET, queued};

/// The variable that names the folder.
pub(crate) const FOLDER: &str = "GHA_SLURM_PICTURES";

const PROFILES: &str = "
[[profile]]
name = 'cpu'
labels = ['self-hosted', 'slurm']

[[profile]]
name = 'gpu'
labels = ['self-hosted', 'slurm', 'gpu']
partition = 'gpu'
gpus = 1
max_running = 2
[profile.dynamic]
cpus = 32
";
const SOLVER: &str = "octo-org/flow-solver";
const MESH: &str = "octo-org/mesh-tools";
const SITE: &str = "octo-org/climate-site";

pub(crate) async fn pictures() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let browser = Browser::start().await;
    let events = Events::default();
    let github = GitHub::start(&[SOLVER, MESH, SITE], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let app = App::start_beside(github, events, "", &[("profiles", PROFILES)]).await;
    let cpu = &["self-hosted", "slurm"][..];
    let gpu = &["self-hosted", "slurm", "gpu"][..];
    for (repository, labels) in [(SOLVER, cpu), (MESH, cpu), (SOLVER, gpu), (SITE, cpu), (SOLVER, cpu), (MESH, cpu)] {
        app.github.queue_job(repository, labels).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    app.gateway.hold(true);
    let (failed, _) = app.github.queue_job(SOLVER, cpu).await;
    end(&app, failed, SOLVER, "failure").await;
    let (cancelled, _) = app.github.queue_job(MESH, cpu).await;
    app.github.cancel_job(cancelled).await;
    let (running, _) = app.github.queue_job(SOLVER, cpu).await;
    start(&app, running, SOLVER).await;
    let (job, _) = app.github.queue_job(SITE, cpu).await;
    start(&app, job, SITE).await;
    for labels in [gpu, &["self-hosted", "slurm", "gpu", "slurm-cpus=16"], gpu] {
        app.github.queue_job(SOLVER, labels).await;
    }
    app.github.queue_job(MESH, cpu).await;
    app.gateway.fail(Fault::Status(503));
    app.github.queue_job(MESH, cpu).await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    // It reads GitHub's list of deliveries.
    app.tick().await;

    browser.open(&app.url).await;
    browser.picture(&folder.join("login.png")).await;
    log_in(&browser, &app.url).await;
    for (size, width, height) in [("desktop", 1280, 800), ("phone", 390, 844)] {
        browser.size(width, height).await;
        for dark in [false, true] {
            browser.dark(dark).await;
            let scheme = if dark { "dark" } else { "light" };
            for (page, name) in [("/".to_owned(), ""), (format!("/jobs/{running}"), "-job")] {
                browser.open(&format!("{}{page}", app.url)).await;
                browser.picture(&folder.join(format!("{size}-{scheme}{name}.png"))).await;
                let tall = browser.script("return document.documentElement.scrollHeight", json!([])).await;
                browser.size(width, u32::try_from(tall.as_u64().unwrap()).unwrap()).await;
                browser.picture(&folder.join(format!("{size}-{scheme}{name}-whole.png"))).await;
                browser.size(width, height).await;
            }
        }
    }
}

async fn start(app: &App, job: u64, repository: &str) {
    let mut event = in_progress(job, &format!("gha-slurm-{job}-1"));
    event["repository"] = repository_of(repository);
    app.deliver("workflow_job", event.to_string()).await;
}

async fn end(app: &App, job: u64, repository: &str, conclusion: &str) {
    start(app, job, repository).await;
    let mut event = queued(job);
    event["action"] = json!("completed");
    event["workflow_job"]["conclusion"] = json!(conclusion);
    event["repository"] = repository_of(repository);
    app.deliver("workflow_job", event.to_string()).await;
}

fn repository_of(name: &str) -> serde_json::Value {
    json!({"id": 1, "full_name": name, "html_url": format!("https://github.com/{name}")})
}
