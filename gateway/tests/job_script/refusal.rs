//! Jobs that may not run: whatever GitHub gives to the runner, no step of it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use gha_slurm_simulator::github::JobSpec;
use serde_json::Value;

use crate::support::{ONE, within};
use crate::{Run, policy, processes_of, site, start, start_script};

fn steps(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("steps")).unwrap_or_default()
}

fn hook(folder: &Path) -> Option<PathBuf> {
    let private = std::fs::read_dir(folder.join("scratch")).ok()?.next()?.ok()?.path();
    Some(private.join("hook")).filter(|hook| hook.join("check.sh").exists())
}

/// The end of one that is refused: 83, in these words, and nothing is left.
async fn refused(run: &mut Run, words: &str) -> String {
    let (status, said) = run.end(15).await;
    assert!(status == Some(83) && said.contains(words), "{status:?} {said}");
    assert_eq!(steps(&run.folder), "", "not even the one of always(): {said}");
    assert_eq!(processes_of(&run.folder), [""; 0]);
    assert!(!said.contains("eyJ"), "{said}");
    said
}

#[tokio::test]
async fn a_forks_job_runs_no_step_and_the_app_hears_of_it() {
    let (app, folder) = site().await;
    let spec = JobSpec { event: "pull_request".into(), fork: Some("mallory/one".into()), ..JobSpec::new(ONE, &["x"]) };
    let (job, _) = app.github.queue(spec).await;
    let place = folder.path().join("steps");
    let (stray, place) = (folder.path().join("stray"), place.to_str().unwrap());
    let stubborn = [("STAND_IN_STEPS", place), ("STAND_IN_STUBBORN", stray.to_str().unwrap())];
    let mut run = start(&app, folder.path(), job, "x", &stubborn).await;
    refused(&mut run, "the policy (forks) does not allow it").await;
    let log = app.github.log(job).join("\n");
    assert!(log.contains("##[error]the policy (forks) does not allow it"), "told to the person: {log}");
    let [(authorization, body)] = app.refusals().try_into().unwrap();
    assert!(authorization.starts_with("Bearer eyJ"));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["repository"], &body["event"]), (&Value::from(ONE), &Value::from("pull_request")), "{body}");
    assert!(body["reason"].as_str().unwrap().contains("(forks)") && body["run_id"].is_u64(), "{body}");
}

#[tokio::test]
async fn a_workflows_own_environment_changes_nothing() {
    let (app, folder) = site().await;
    let env = [("GITHUB_REPOSITORY", ONE), ("ACTIONS_RUNNER_HOOK_JOB_STARTED", "/bin/true"), ("BASH_ENV", "/bin/true")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    app.github.queue(JobSpec { env, ..JobSpec::new(ONE, &["x"]) }).await;
    let place = folder.path().join("steps");
    let other = policy("").replace("repository octo-org/one\n", "");
    let changes = [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_POLICY", &other)];
    let mut run = start(&app, folder.path(), 1, "x", &changes).await;
    refused(&mut run, "octo-org/one is not mapped").await;
}

#[tokio::test]
async fn a_check_that_is_replaced_or_removed_ends_everything() {
    for how in ["rm -rf", "mv -T --backup", "chmod u+w"] {
        let (app, folder) = site().await;
        let place = folder.path().join("steps");
        let changes = [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_IDLE_SECONDS", "60")];
        let mut run = start(&app, folder.path(), 1, "x", &changes).await;
        within(10, "it listens", async || run.output().contains("Listening for Jobs")).await;
        let hook = hook(folder.path()).unwrap();
        let script = match how {
            "rm -rf" => "chmod u+w $H; rm -rf $H",
            "chmod u+w" => "chmod u+w $H $H/check.sh; echo exit 0 >$H/check.sh",
            _ => "mv $H $H-old; mkdir $H; ln -s /bin/true $H/check.sh",
        };
        assert!(Command::new("bash").args(["-c", script]).env("H", &hook).status().unwrap().success());
        // The script looks once a second; a runner takes longer than that from a job to its first step, and this one does not.
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        app.github.queue_job(ONE, &["x"]).await;
        refused(&mut run, "the check was replaced or removed").await;
    }
}

#[tokio::test]
async fn a_check_that_is_killed_ends_everything() {
    let (app, folder) = site().await;
    let place = folder.path().join("steps");
    let killed = "#!/bin/bash\nexec {f}<>\"${BASH_SOURCE[0]%/*/*}/said\"\nkill -KILL $$\n";
    let changes = [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_CHECK", killed)];
    app.github.queue_job(ONE, &["x"]).await;
    let mut run = start(&app, folder.path(), 1, "x", &changes).await;
    let (status, said) = run.end(15).await;
    assert!(status == Some(83) && said.contains("ended before it decided"), "{status:?} {said}");
}

#[tokio::test]
async fn the_sites_own_hooks_run_after_the_check() {
    for (body, wanted) in [("echo mine >\"$STAND_IN_STEPS\"", "mine\nbuild "), ("exit 3", "always ")] {
        let (app, folder) = site().await;
        let (started, place) = (folder.path().join("started.sh"), folder.path().join("steps"));
        std::fs::write(&started, body).unwrap();
        let changes =
            [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_HOOK_STARTED", started.to_str().unwrap())];
        app.github.queue_job(ONE, &["x"]).await;
        let mut run = start(&app, folder.path(), 1, "x", &changes).await;
        let (status, said) = run.end(15).await;
        assert!(status == Some(0) && steps(folder.path()).starts_with(wanted), "{} {said}", steps(folder.path()));
    }
}

#[tokio::test]
async fn without_check_or_policy_no_token_is_spent() {
    for (name, words) in [("GHA_SLURM_CHECK", "did not arrive"), ("GHA_SLURM_POLICY", "did not arrive")] {
        let (app, folder) = site().await;
        let mut run = start(&app, folder.path(), 1, "x", &[(name, "")]).await;
        let (status, said) = run.end(5).await;
        assert!(status == Some(1) && said.contains(words) && app.exchanges().is_empty(), "{said}");
    }
    let (app, folder) = site().await;
    let runner = crate::runner_folder(folder.path());
    std::fs::write(runner.join(".env"), "ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/own.sh\n").unwrap();
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    let (status, said) = run.end(5).await;
    assert!(status == Some(1) && said.contains("job.hooks.started") && app.exchanges().is_empty(), "{said}");
}

#[tokio::test]
async fn an_organizations_runner_is_of_its_owners_page() {
    let (app, folder) = site().await;
    app.answer_jit_of("https://github.com/octo-org");
    let owner = [("GHA_SLURM_OWNER_PAGE", "https://github.com/octo-org")];
    let mut run = start(&app, folder.path(), 1, "x", &owner).await;
    let (_, said) = run.end(15).await;
    assert!(!said.contains("ALARM"), "{said}");
    app.answer_jit_of(&format!("https://github.com/{ONE}"));
    let mut run = start(&app, folder.path(), 2, "x", &owner).await;
    let (status, said) = run.end(15).await;
    assert!(status == Some(82) && said.contains("and not for https://github.com/octo-org:"), "{said}");
    let other = [("GHA_SLURM_OWNER_PAGE", "https://github.com/octo")];
    let mut run = start(&app, folder.path(), 3, "x", &other).await;
    let (status, said) = run.end(5).await;
    assert!(status == Some(1) && said.contains("not the page of the owner"), "{said}");
}

/// A check that is in the runner, with the processes above it, and a job script that is gone.
#[tokio::test]
async fn a_refused_job_dies_without_the_script_too() {
    let folder = tempfile::tempdir().unwrap();
    let hook = folder.path().join("hook");
    std::fs::create_dir(&hook).unwrap();
    std::fs::write(hook.join("check.sh"), include_str!("../../src/script/check.sh")).unwrap();
    let steps = folder.path().join("steps");
    let worker = format!("bash -e {}/check.sh; echo always >{}", hook.display(), steps.display());
    let mut listener = Command::new("setsid");
    listener.args(["bash", "-c", "sleep 100 & bash -c \"$WORKER\"; echo listener >>steps"]).env("WORKER", worker);
    let begun = std::time::Instant::now();
    let ended = listener.env("GHA_SLURM_WORK", folder.path()).current_dir(folder.path()).output().unwrap();
    assert!(!ended.status.success() && !steps.exists() && begun.elapsed().as_secs() < 12, "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(said.contains("::error title=This cluster does not run this job::the job script cannot be told"), "{said}");
    assert_eq!(processes_of(folder.path()), [""; 0], "its children too");
}

/// The check is asked to end, as by a runner whose job was cancelled, and does not give way.
#[tokio::test]
async fn an_interrupted_check_is_a_refusal() {
    let (app, folder) = site().await;
    let place = folder.path().join("steps");
    let check = include_str!("../../src/script/check.sh").replace("\njudge() {\n", "\njudge() {\n    sleep 30\n");
    let changes = [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_CHECK", &check)];
    app.github.queue_job(ONE, &["x"]).await;
    let mut run = start(&app, folder.path(), 1, "x", &changes).await;
    let checks = || {
        let found =
            Command::new("pgrep").args(["-f", &format!("{}.*/hook/check.sh", folder.path().display())]).output();
        String::from_utf8(found.unwrap().stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    within(10, "it checks", async || !checks().is_empty()).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    Command::new("kill").arg("-INT").args(checks()).status().unwrap();
    Command::new("kill").arg("-TERM").args(checks()).status().unwrap();
    refused(&mut run, "the check was interrupted before it decided").await;

    // Told to end, the script does not leave the runner the time to run steps either.
    app.github.queue_job(ONE, &["x"]).await;
    let mut run = start(&app, folder.path(), 2, "x", &changes).await;
    within(10, "it checks", async || !checks().is_empty()).await;
    run.signal();
    let (status, said) = run.end(10).await;
    assert!(status == Some(143) && steps(folder.path()).is_empty(), "{status:?} {said}");
}

#[tokio::test]
async fn a_check_that_does_not_decide_ends_everything() {
    let (app, folder) = site().await;
    let place = folder.path().join("steps");
    let changes = [("STAND_IN_STEPS", place.to_str().unwrap()), ("GHA_SLURM_CHECK", "sleep 100\n")];
    app.github.queue_job(ONE, &["x"]).await;
    let script = include_str!("../../src/script/job_script.sh").replace("begin_limit=300", "begin_limit=1");
    let mut run = start_script(&script, &app, folder.path(), 1, "x", &changes).await;
    refused(&mut run, "the check did not decide within 1 s").await;
}
