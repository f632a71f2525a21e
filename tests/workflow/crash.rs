//! The host is killed in the middle, again and again; what got a 2xx is launched all the same, once.

use std::collections::BTreeMap;
use std::time::Duration;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{GitHub, sign};

use crate::support::{App, REPOSITORY, WEBHOOK_SECRET, json, queued};

/// How often; `.ci/run` asks for more.
fn kills() -> u64 {
    std::env::var("GHA_SLURM_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(8)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_kill_is_launched_after_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().to_str().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let mut accepted = Vec::new();
    let mut launched: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = |app: &App| {
        for start in app.gateway.starts() {
            *launched.entry(start["launch"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    };
    for kill in 0..kills() {
        let mut app = App::start_beside(github.clone(), events.clone(), state, &[]).await;
        app.gateway.hold(true);
        let mut load = tokio::task::JoinSet::new();
        for number in 0..20 {
            let (client, url) = (app.client.clone(), format!("{}/api/github/webhooks", app.url));
            load.spawn(async move {
                let job = 1_000_000 + kill * 1000 + number;
                let body = queued(job).to_string();
                tokio::time::sleep(Duration::from_millis(number * 3)).await;
                let request = client
                    .post(url)
                    .header("x-github-event", "workflow_job")
                    .header("x-github-delivery", "1")
                    .header("x-hub-signature-256", sign(WEBHOOK_SECRET, body.as_bytes()))
                    .timeout(Duration::from_secs(8))
                    .body(body);
                match request.send().await {
                    Ok(response) if response.status().is_success() => Some(job),
                    _ => None,
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(5 + (kill * 37) % 90)).await;
        app.kill();
        accepted.extend(load.join_all().await.into_iter().flatten());
        count(&app);
    }
    assert!(!accepted.is_empty(), "some were accepted before the kill");
    // A dead attempt's lease begins when the tick meets it, and ends a minute later: the tick's clock is the system's, so
    // a redelivery, which GitHub sends for what was not answered, is what is tried here.
    let app = App::start_beside(github, events, state, &[]).await;
    app.gateway.hold(true);
    app.tick().await;
    tokio::time::sleep(Duration::from_secs(62)).await;
    app.tick().await;
    count(&app);
    for job in &accepted {
        let times = launched.get(&format!("{job}-1")).copied().unwrap_or(0);
        // A gateway that was told before the kill, and whose answer was lost, is told again: under the same id, by which
        // it knows the launch.
        assert!((1..=2).contains(&times), "job {job} was submitted {times} times");
        assert!(!launched.contains_key(&format!("{job}-2")), "job {job} had a second launch");
        let (_, answer) = json(app.deliver("workflow_job", queued(*job).to_string()).await).await;
        assert_eq!(answer["decision"], "duplicate", "job {job}: {answer}");
    }
}
