//! A runner that is too old for GitHub, and one that updates itself: the folder that all Slurm jobs share stays as it is.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use gha_slurm_simulator::github::JobStatus;
use gha_slurm_simulator::runner::install;

use super::support::{ONE, within};
use super::{site, start, start_script};

const SCRIPT: &str = include_str!("../../src/script/job_script.sh");

/// Everything in a folder, with what it is and what it holds.
fn contents(folder: &Path) -> String {
    let look = "find . -printf '%p %y %l %m\\n' | sort; find . -type f | sort | xargs sha256sum";
    let output = Command::new("bash").args(["-c", look]).current_dir(folder).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A runner's folder that updated itself in its place, when somebody ran it there: links to folders of a version.
fn updated_in_its_place(folder: &Path) -> PathBuf {
    let runner = folder.join("shared");
    install(&runner).unwrap();
    for name in ["bin", "externals"] {
        let versioned = runner.join(format!("{name}.2.300.0"));
        std::fs::rename(runner.join(name), &versioned).unwrap();
        symlink(&versioned, runner.join(name)).unwrap();
        std::fs::create_dir(runner.join(format!("{name}.2.299.0"))).unwrap();
    }
    std::fs::write(runner.join("externals/node"), "node").unwrap();
    runner
}

#[tokio::test]
async fn a_runner_that_is_too_old_ends_with_a_status_of_its_own() {
    let (app, folder) = site().await;
    let deprecated = ("STAND_IN_LISTENER_EXIT", "7");
    let too_old = |(status, said): (Option<i32>, String)| {
        assert_eq!(status, Some(84), "{said}");
        assert!(said.contains("too old for GitHub") && said.contains("runner update"), "{said}");
        assert!(said.contains("v2.300.0 is deprecated"), "its own words: {said}");
    };
    too_old(start(&app, folder.path(), 1, "x", &[deprecated]).await.end(20).await);
    assert_eq!(app.github.runners(), [""; 0], "it is not registered any more");
    app.answer_jit();
    too_old(start(&app, folder.path(), 2, "x", &[deprecated]).await.end(20).await);
    // One of those that keep the status for themselves.
    let silent = folder.path().join("silent");
    install(&silent).unwrap();
    let run = std::fs::read_to_string(silent.join("run.sh")).unwrap().replace("then exit 7; fi", "then exit 0; fi");
    std::fs::write(silent.join("run.sh"), run).unwrap();
    let silent = ("GHA_SLURM_RUNNER", silent.to_str().unwrap());
    too_old(start(&app, folder.path(), 3, "x", &[deprecated, silent]).await.end(20).await);
}

#[tokio::test]
async fn a_registration_that_is_refused_for_the_version_says_so() {
    let (app, folder) = site().await;
    for body in ["exit 7", "echo 'Runner version v2.300.0 is deprecated and cannot receive messages.'; exit 1"] {
        let old = folder.path().join("old");
        install(&old).unwrap();
        std::fs::write(old.join("config.sh"), format!("#!/bin/bash\n{body}\n")).unwrap();
        let changes = [("GHA_SLURM_RUNNER", old.to_str().unwrap())];
        let (status, said) = start(&app, folder.path(), body.len() as u64, "x", &changes).await.end(20).await;
        assert!(status == Some(84) && said.contains("too old for GitHub"), "{body}: {said}");
    }
}

#[tokio::test]
async fn a_runner_that_starts_again_runs_its_job() {
    let (app, folder) = site().await;
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let changes = [("STAND_IN_LISTENER_EXIT", "2,"), ("GHA_SLURM_IDLE_SECONDS", "15")];
    let (status, said) = start(&app, folder.path(), job, "self-hosted", &changes).await.end(30).await;
    assert!(status == Some(0) && said.contains("Restarting runner..."), "{said}");
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()), "{said}");
}

#[tokio::test]
async fn an_update_takes_its_time_and_leaves_the_shared_folder_alone() {
    let (app, folder) = site().await;
    let shared = updated_in_its_place(folder.path());
    let before = contents(&shared);
    let runner = ("GHA_SLURM_RUNNER", shared.to_str().unwrap());
    // Longer than the idle limit.
    let updates = [runner, ("STAND_IN_UPDATE", "2.301.0"), ("STAND_IN_UPDATE_SECONDS", "5")];
    for jit in [false, true] {
        if jit {
            app.answer_jit();
        }
        let (job, _) = app.github.queue_job(ONE, &["x"]).await;
        let (status, said) = start(&app, folder.path(), job, "x", &updates).await.end(40).await;
        assert!(status == Some(0) && said.contains("Restarting runner..."), "{said}");
        assert!(said.contains("updated itself, for this Slurm job alone"), "{said}");
        assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()), "{said}");
        assert_eq!(contents(&shared), before);
    }
}

#[tokio::test]
async fn an_update_that_fails_or_never_ends_is_told() {
    let (app, folder) = site().await;
    let shared = updated_in_its_place(folder.path());
    // It waits half a minute for the end of its update.
    let helper = shared.join("run-helper.sh.template");
    let hasty = std::fs::read_to_string(&helper).unwrap().replace("sleep 1", "sleep 0.1");
    std::fs::write(&helper, hasty).unwrap();
    let before = contents(&shared);
    let updates = [("GHA_SLURM_RUNNER", shared.to_str().unwrap()), ("STAND_IN_UPDATE", "2.301.0")];
    let script = SCRIPT.replace("update_limit=600", "update_limit=2");
    for (job, trouble) in [(1, ("STAND_IN_UPDATE_FAILS", "yes")), (2, ("STAND_IN_UPDATE_SECONDS", "100"))] {
        let changes = [updates[0], updates[1], trouble];
        let mut run = start_script(&script, &app, folder.path(), job, "x", &changes).await;
        let (status, said) = run.end(40).await;
        assert!(status == Some(84) && said.contains("began to update itself and did not come back"), "{said}");
        assert_eq!(contents(&shared), before);
    }
}

#[tokio::test]
async fn a_link_that_is_switched_meanwhile_harms_nobody() {
    let (app, folder) = site().await;
    let (old, new, link) = (folder.path().join("1"), folder.path().join("2"), folder.path().join("current"));
    install(&old).unwrap();
    // Unlike a runner: whatever is taken from there is missed.
    std::fs::create_dir(&new).unwrap();
    symlink("1", &link).unwrap();
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    app.answer_next(&[503]);
    let changes = [("GHA_SLURM_RUNNER", link.to_str().unwrap())];
    let mut run = start(&app, folder.path(), job, "self-hosted", &changes).await;
    within(10, "it waits for a credential", async || run.output().contains("no credential yet")).await;
    symlink("2", folder.path().join("next")).unwrap();
    std::fs::rename(folder.path().join("next"), &link).unwrap();
    let (status, said) = run.end(30).await;
    assert!(status == Some(0) && said.contains("Running job"), "{said}");
}
