//! A component is replaced alone, while launches are on their way.

use std::path::Path;

use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::GitHub;

use crate::support::{App, MANIFEST, REPOSITORY, WASM, WEBHOOK_SECRET, built, built_for_tests, json, queued};

/// The shipped manifest, with `runner` from another file.
fn with_runner(folder: &Path, runner: &Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(MANIFEST).unwrap();
    let text = text.replace("target/wasm32-wasip1/wasm", WASM);
    let shipped = format!("{WASM}/gha_slurm_runner.wasm");
    assert!(text.contains(&shipped));
    let text = text.replace(&shipped, runner.to_str().unwrap());
    let path = folder.join("spin.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Another build of the same component: other bytes, by a section that nobody reads.
fn rebuilt(folder: &Path) -> std::path::PathBuf {
    built();
    let mut wasm = std::fs::read(Path::new(WASM).join("gha_slurm_runner.wasm")).unwrap();
    wasm.extend_from_slice(b"\0\x0a\x07anotherxx");
    let path = folder.join("rebuilt.wasm");
    std::fs::write(&path, wasm).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn another_runner_takes_over_with_tokens_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let events = Events::default();
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, events.clone()).await.unwrap();
    let shipped = App::start_beside(github.clone(), events.clone(), state, &[]).await;
    // The tokens' audience is the address of the first.
    let url = shipped.url.clone();
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let (job, start) = shipped.held_launch().await;
        tokens.push((job, start["launcherToken"].as_str().unwrap().to_owned()));
    }
    assert_eq!(json(shipped.redeem(Some(&tokens[0].1)).await).await.0, 200);
    drop(shipped);

    let others = [(built_for_tests("other_runner"), Some("other")), (rebuilt(folder.path()), None)];
    for (number, (runner, name)) in others.into_iter().enumerate() {
        let manifest = with_runner(folder.path(), &runner);
        let app = App::start_from(&manifest, github.clone(), events.clone(), state, &[("public_url", &url)]).await;
        let answer = app.redeem(Some(&tokens[number + 1].1)).await;
        assert_eq!(answer.headers().get("x-runner-component").map(|name| name.to_str().unwrap()), name);
        let (status, body) = json(answer).await;
        assert_eq!(status, 200, "a token that the other one has never seen: {body}");
        for (_, token) in &tokens[..number + 2] {
            assert_eq!(json(app.redeem(Some(token)).await).await.0, 409, "what is redeemed stays so");
        }
        // What stayed goes on as well.
        let (job, _) = &tokens[3];
        let answer = json(app.deliver("workflow_job", queued(*job).to_string()).await).await;
        assert_eq!(answer.1["decision"], "duplicate");
    }
    let back = App::start_beside(github, events, state, &[("public_url", &url)]).await;
    assert_eq!(json(back.redeem(Some(&tokens[3].1)).await).await.0, 200);
}
