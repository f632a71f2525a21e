//! The app and the gateway together, each as shipped: the real job script runs a runner's stand-in, with no Slurm between.

use std::path::Path;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{Endpoint, Fault, GitHub, JobStatus};
use gha_slurm_simulator::runner;

use crate::support::gateway::GatewayProcess;
use crate::support::{App, LABELS, REPOSITORY, WEBHOOK_SECRET};

fn start(folder: &Path, github: &GitHub) -> GatewayProcess {
    runner::install(&folder.join("runner")).unwrap();
    let (here, github) = (folder.display(), github.url());
    let yaml = format!(
        "listen: 127.0.0.1:0\nghaSharedSecret: gateway-secret-of-the-tests\nbackend: local\nstateDirectory: {here}/state\n\
         repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: daemon}}]\n\
         job: {{runner: {here}/runner, idleSeconds: 20, environment: {{{}: '{github}'}}}}\n",
        runner::GITHUB_VARIABLE
    );
    GatewayProcess::start(folder, &yaml)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_by_a_jit_config_also_when_its_runners_name_was_taken() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let gateway = start(folder.path(), &github);
    let app = App::start_beside(github, events, "", &[("gateway_url", &gateway.url)]).await;
    for taken in [false, true] {
        if taken {
            // The name is taken, as after an attempt that died.
            app.github.fail(Endpoint::JitConfig, Fault::Status(409));
        }
        let (job, delivery) = app.github.queue_job(REPOSITORY, LABELS).await;
        let delivery = delivery.unwrap();
        assert_eq!(delivery.answer["decision"], "launched", "{delivery:?}");
        let done = || app.github.job(job).unwrap().status == JobStatus::Completed("success".to_owned());
        app.within_seconds(20, "the job is done", done).await;
        let (_, runner) = app.github.job(job).unwrap().runner.unwrap();
        assert_eq!(runner, format!("gha-slurm-{job}-1"));
    }
    let asked = |end: &str| app.github.requests().iter().filter(|request| request.ends_with(end)).count();
    assert_eq!((asked("/generate-jitconfig"), asked("/registration-token")), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_cancelled_while_it_waits_leaves_no_runner() {
    let folder = tempfile::tempdir().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let gateway = start(folder.path(), &github);
    let app = App::start_beside(github, events, "", &[("gateway_url", &gateway.url)]).await;
    // GitHub is slow, so that the script still asks for its credential when the job is cancelled.
    app.github.fail(Endpoint::AccessTokens, Fault::Stall(std::time::Duration::from_secs(3)));
    let (job, _) = app.github.queue_job(REPOSITORY, LABELS).await;
    app.github.cancel_job(job).await;
    for _ in 0..100 {
        if gateway.slurm_job(&format!("{job}-1")).await["state"] == "CANCELLED" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the Slurm job was not cancelled");
}
