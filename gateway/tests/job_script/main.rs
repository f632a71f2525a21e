//! The built-in job script, really run, against a stand-in runner and a stand-in for the app.

// Tests fail by panicking, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod check;
mod credential;
mod refusal;
#[path = "../support/mod.rs"]
mod support;
mod version;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use gha_slurm_simulator::github::JobStatus;
use support::{App, ONE, runner_folder, within};

struct Run {
    child: Child,
    folder: PathBuf,
}

impl Run {
    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.join("out")).unwrap()
    }

    /// Waits for the end: status, and what it said.
    async fn end(&mut self, seconds: u64) -> (Option<i32>, String) {
        let mut status = None;
        let child = &mut self.child;
        within(seconds, "the script ends", async || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        let left =
            std::fs::read_dir(self.folder.join("scratch")).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir());
        assert_eq!(left.count(), 0, "the private folder is gone");
        (status.unwrap().code(), self.output())
    }

    fn signal(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

/// Who runs all of this.
fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim().to_owned()
}

/// What may run: everything of the two repositories, with these lines in addition.
fn policy(more: &str) -> String {
    let user = user();
    format!(
        "server https://github.com\nuser {user}\nrepository octo-org/one\nrepository octo-org/two\npublic never\nforks never\n{more}"
    )
}

/// A place for the script, and the job that it is started for.
async fn start(app: &App, folder: &Path, job: u64, labels: &str, changes: &[(&str, &str)]) -> Run {
    start_script(include_str!("../../src/script/job_script.sh"), app, folder, job, labels, changes).await
}

async fn start_script(script: &str, app: &App, folder: &Path, job: u64, labels: &str, changes: &[(&str, &str)]) -> Run {
    let place = folder.join("job_script.sh");
    std::fs::write(&place, script).unwrap();
    let request = app.request(job, ONE, labels);
    let text = |name: &str| request[name].as_str().unwrap().to_owned();
    let runner = runner_folder(folder);
    let scratch = folder.join("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let output = std::fs::File::create(folder.join("out")).unwrap();
    let mut command = Command::new("bash");
    command
        .arg(place)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("GHA_SLURM_TOKEN", text("launcherToken"))
        .env("GHA_SLURM_TOKEN_URL", text("tokenURL"))
        .env("GHA_SLURM_URL", text("gitHubURL"))
        .env("GHA_SLURM_NAME", text("runnerName"))
        .env("GHA_SLURM_LABELS", labels)
        .env("GHA_SLURM_RUNNER", &runner)
        .env("GHA_SLURM_SCRATCH", &scratch)
        .env("GHA_SLURM_IDLE_SECONDS", "3")
        .env("GHA_SLURM_GRACE_SECONDS", "3")
        .env("GHA_SLURM_POLICY", policy(""))
        .env("GHA_SLURM_CHECK", include_str!("../../src/script/check.sh"))
        .env("STAND_IN_GITHUB", app.github.url())
        .envs(changes.iter().copied())
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output);
    Run { child: command.spawn().unwrap(), folder: folder.to_owned() }
}

async fn site() -> (Arc<App>, tempfile::TempDir) {
    (App::start().await, tempfile::tempdir().unwrap())
}

#[tokio::test]
async fn it_runs_one_job_and_leaves_nothing() {
    let (app, folder) = site().await;
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted,x", &[]).await;
    let (status, said) = run.end(20).await;
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()), "{said}");
    let (authorization, body) = app.exchanges().pop().unwrap();
    assert_eq!((authorization.starts_with("Bearer eyJ"), body.as_str()), (true, "{\"credential\":\"jit\"}"));
    assert!(!said.contains("eyJ") && said.contains("Running job: build"), "{said}");
}

#[tokio::test]
async fn an_idle_runner_ends_and_a_busy_one_stays() {
    let (app, folder) = site().await;
    let stray = folder.path().join("stray");
    let stubborn = [("STAND_IN_STUBBORN", stray.to_str().unwrap())];
    let mut run = start(&app, folder.path(), 1, "unwanted", &stubborn).await;
    let (status, said) = run.end(25).await;
    assert!(
        status == Some(0) && said.contains("no job within 3 s") && said.contains("does not end by itself"),
        "{said}"
    );
    let child = std::fs::read_to_string(&stray).unwrap();
    let command = std::fs::read(Path::new("/proc").join(child.trim()).join("cmdline"));
    assert!(command.is_err() || command.is_ok_and(|line| line.is_empty()), "its child is gone too");

    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &[("STAND_IN_JOB_SECONDS", "6")]).await;
    let (status, said) = run.end(25).await;
    assert!(status == Some(0) && !said.contains("no job within"), "longer than the idle limit: {said}");
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()));
}

#[tokio::test]
async fn a_job_in_the_very_last_moment_is_not_killed() {
    let (app, folder) = site().await;
    let mut run = start(&app, folder.path(), 1, "self-hosted", &[("STAND_IN_JOB_SECONDS", "4")]).await;
    within(10, "it listens", async || run.output().contains("Listening for Jobs")).await;
    tokio::time::sleep(std::time::Duration::from_millis(2600)).await;
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let (_, said) = run.end(25).await;
    let taken = said.contains("Running job: build");
    let done = app.github.job(job).unwrap().status == JobStatus::Completed("success".into());
    assert_eq!(taken, done, "taken and done, or left alone: {said}");
}

#[tokio::test]
async fn it_ends_when_told() {
    let (app, folder) = site().await;
    let changes = [("GHA_SLURM_IDLE_SECONDS", "60"), ("GHA_SLURM_GRACE_SECONDS", "8")];
    let mut run = start(&app, folder.path(), 1, "unwanted", &changes).await;
    within(10, "it listens", async || run.output().contains("Listening for Jobs")).await;
    run.signal();
    let (status, said) = run.end(15).await;
    assert!(status == Some(143) && said.contains("ended as told"), "{status:?} {said}");
    assert!(said.contains("Exiting..."), "the listener had the time to end by itself: {said}");
    assert!(!said.contains("Killed"), "nothing of the script's own processes: {said}");
    let (job, _) = app.github.queue_job(ONE, &["unwanted"]).await;
    assert_eq!(app.github.job(job).unwrap().status, JobStatus::Queued, "the runner is not registered any more");

    app.answer_next(&[503; 9]);
    let mut run = start(&app, folder.path(), 2, "x", &[]).await;
    within(10, "it waits for a credential", async || run.output().contains("no credential yet")).await;
    run.signal();
    assert_eq!(run.end(5).await.0, Some(143));
}

#[tokio::test]
async fn what_a_build_left_in_the_place_of_a_lock_is_not_opened() {
    let (app, folder) = site().await;
    app.answer_jit();
    let host = Command::new("uname").arg("-n").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let scratch = folder.path().join("scratch");
    let left = |name: &str| scratch.join(format!("gha-slurm-{}-{name}", host.trim()));
    for (name, make) in [("fifo", "mkfifo lock"), ("link", "ln -s /dev/zero lock"), ("folder", "mkdir lock")] {
        std::fs::create_dir_all(left(name)).unwrap();
        let made = Command::new("bash").args(["-c", make]).current_dir(left(name)).status().unwrap();
        assert!(made.success());
        let aged = Command::new("touch").args(["--date", "10 minutes ago"]).arg(left(name)).status().unwrap();
        assert!(aged.success());
    }
    let mut run = start(&app, folder.path(), 1, "x", &[]).await;
    within(20, "it ends", async || run.child.try_wait().unwrap().is_some()).await;
    assert!(run.output().contains("no job within 3 s"), "{}", run.output());
    assert!(left("fifo").exists() && left("link").exists(), "not taken for its own");
}

/// A process and all that come from it.
fn tree(root: u32) -> Vec<String> {
    let mut found = vec![root.to_string()];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().map(str::to_owned));
        next += 1;
    }
    found
}

/// As Slurm tells it: bash forgets a child whose end falls together with the signal.
#[tokio::test]
async fn it_ends_when_it_and_all_its_processes_are_told_at_once() {
    let app = App::start().await;
    let mut runs = Vec::new();
    for number in 1..=12 {
        let folder = tempfile::tempdir().unwrap();
        let run = start(&app, folder.path(), number, "unwanted", &[("GHA_SLURM_IDLE_SECONDS", "60")]).await;
        runs.push((folder, run));
    }
    for (_, run) in &mut runs {
        within(20, "it listens", async || run.output().contains("Listening for Jobs")).await;
        // Short-lived ones may be over by now, of which kill complains.
        Command::new("kill").arg("-TERM").args(tree(run.child.id())).stderr(Stdio::null()).status().unwrap();
    }
    for (_, run) in &mut runs {
        let (status, said) = run.end(20).await;
        assert!(status == Some(143) && said.contains("ended as told"), "{status:?} {said}");
    }
}

#[tokio::test]
async fn a_runner_told_before_the_script_may_still_cancel_its_job() {
    let (app, folder) = site().await;
    app.github.queue_job(ONE, &["self-hosted"]).await;
    let patient = [("STAND_IN_JOB_SECONDS", "30"), ("GHA_SLURM_GRACE_SECONDS", "20")];
    let mut run = start(&app, folder.path(), 1, "self-hosted", &patient).await;
    within(10, "its job runs", async || run.output().contains("Running step")).await;
    // The first is the script.
    Command::new("kill").arg("-TERM").args(&tree(run.child.id())[1..]).stderr(Stdio::null()).status().unwrap();
    // The script looks once a second.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    run.signal();
    let (status, said) = run.end(30).await;
    assert_eq!(status, Some(143), "{said}");
    assert!(said.contains("Exiting...") && said.contains("ended as told"), "{said}");
}

#[tokio::test]
async fn what_a_killed_script_left_is_removed_by_the_next() {
    let (app, folder) = site().await;
    let (_, scratch) = (app.github.queue_job(ONE, &["self-hosted"]).await, folder.path().join("scratch"));
    let busy = [("STAND_IN_JOB_SECONDS", "30")];
    let mut killed = start(&app, folder.path(), 1, "self-hosted", &busy).await;
    within(10, "its job runs", async || killed.output().contains("Running job")).await;
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    let folders = || std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let [left] = folders().try_into().unwrap();
    // Slurm ends what the runner started; here nobody does. Some of it may end by itself meanwhile.
    Command::new("kill").arg("-KILL").args(processes_of(&left)).status().unwrap();
    within(10, "nothing of it runs", async || processes_of(&left).is_empty()).await;
    let age = |path: &Path| {
        let aged = Command::new("touch").args(["--date", "10 minutes ago"]).arg(path).status().unwrap();
        assert!(aged.success());
    };
    // Fresh, it might be one that is about to take its lock.
    let mut next = start(&app, folder.path(), 2, "unwanted", &[]).await;
    within(20, "it ends", async || next.child.try_wait().unwrap().is_some()).await;
    assert_eq!(folders(), std::slice::from_ref(&left));
    age(&left);
    let held = std::fs::File::open(left.join("lock")).unwrap();
    held.lock().unwrap();
    let mut next = start(&app, folder.path(), 3, "unwanted", &[]).await;
    within(20, "it ends", async || next.child.try_wait().unwrap().is_some()).await;
    assert_eq!(folders(), std::slice::from_ref(&left), "somebody lives in it");
    drop(held);
    let mut next = start(&app, folder.path(), 4, "unwanted", &[]).await;
    let (_, said) = next.end(20).await;
    assert!(said.contains("left by a Slurm job that was killed"), "{said}");
}

#[tokio::test]
async fn an_archive_is_checked_and_unpacked() {
    let (app, folder) = site().await;
    let runner = runner_folder(folder.path());
    let archive = folder.path().join("runner.tar.gz");
    let packed = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&runner).arg(".").status().unwrap();
    assert!(packed.success());
    let sum = Command::new("sha256sum").arg(&archive).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap()[..64].to_owned();
    let archive = archive.to_str().unwrap();
    let container = "env\nIN_CONTAINER={work}";
    let good = [("GHA_SLURM_RUNNER", archive), ("GHA_SLURM_RUNNER_SHA256", &sum), ("GHA_SLURM_CONTAINER", container)];
    let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
    let mut run = start(&app, folder.path(), job, "self-hosted", &good).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(0) && said.contains("Running job"), "{said}");
    let bad = "0".repeat(64);
    let mut run = start(&app, folder.path(), 2, "x", &[good[0], ("GHA_SLURM_RUNNER_SHA256", &bad)]).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(1) && said.contains("does not have the checksum"), "{said}");
    assert_eq!(app.exchanges().len(), 2, "the token is exchanged before the archive is read");
    let nowhere = [("GHA_SLURM_RUNNER", "/nowhere/runner.tar.gz"), ("GHA_SLURM_RUNNER_SHA256", &*bad)];
    let mut run = start(&app, folder.path(), 3, "x", &nowhere).await;
    let (status, said) = run.end(20).await;
    assert!(status == Some(1) && said.contains("cannot read the runner"), "{said}");
    assert_eq!(app.exchanges().len(), 2, "no token is spent on a runner that is not there");
}

/// A container image of nothing but mount points, into which the machine's programs are bound.
fn image(folder: &Path) -> PathBuf {
    let image = folder.join("image");
    for name in ["usr", "dev", "proc", "sys", "tmp", "home", "etc/alternatives", "root", "work"] {
        std::fs::create_dir_all(image.join(name)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(Path::new("usr").join(name), image.join(name)).unwrap();
    }
    // Debian's awk is a link to a link in /etc.
    std::os::unix::fs::symlink(std::fs::canonicalize("/usr/bin/awk").unwrap(), image.join("etc/alternatives/awk"))
        .unwrap();
    for name in ["passwd", "group", "hosts", "resolv.conf"] {
        std::fs::write(image.join("etc").join(name), "").unwrap();
    }
    image
}

/// Processes whose environment names that folder, or one in it, as those of a runner do.
fn processes_of(folder: &Path) -> Vec<String> {
    let needle = format!("GHA_SLURM_WORK={}", folder.display());
    let found = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let id = entry.file_name().into_string().ok()?;
        String::from_utf8_lossy(&environment).contains(&needle).then_some(id)
    });
    found.collect()
}

#[tokio::test]
async fn a_container_runs_its_job_ends_when_idle_and_ends_when_told() {
    let (app, folder) = site().await;
    let image = image(folder.path());
    // Charliecloud, as clusters have it; and one that hides its processes in a namespace of their own.
    let charliecloud =
        format!("ch-run\n-b\n/usr\n-b\n{{work}}:/work\n--cd\n/work/runner\n{}\n--\nenv\nTMPDIR=/tmp", image.display());
    let bubblewrap = "bwrap\n--dev-bind\n/\n/\n--proc\n/proc\n--unshare-pid";
    for (number, container) in [(1, charliecloud.as_str()), (3, bubblewrap)] {
        let program = container.lines().next().unwrap();
        if Command::new(program).arg("--version").env("USER", "root").output().is_err() {
            assert!(std::env::var_os("GHA_SLURM_REQUIRE_SLURM").is_none(), "{program} is not installed");
            println!("skipped: {program} is not installed");
            continue;
        }
        let inside = [("GHA_SLURM_CONTAINER", container), ("USER", "root"), ("HOME", "/root")];
        let (job, _) = app.github.queue_job(ONE, &["self-hosted"]).await;
        let mut run = start(&app, folder.path(), job, "self-hosted", &inside).await;
        let (status, said) = run.end(20).await;
        assert!(status == Some(0) && said.contains("Running job: build"), "{program}: {said}");
        assert_eq!(app.github.job(job).unwrap().status, JobStatus::Completed("success".into()), "{program}: {said}");

        let stubborn = [inside[0], inside[1], inside[2], ("STAND_IN_STUBBORN", "stray")];
        let mut run = start(&app, folder.path(), number, "unwanted", &stubborn).await;
        let scratch = folder.path().join("scratch");
        within(10, "its processes are there", async || processes_of(&scratch).len() > 1).await;
        let (status, said) = run.end(25).await;
        assert!(status == Some(0) && said.contains("no job within 3 s"), "{program}: {status:?} {said}");
        assert_eq!(processes_of(&scratch), [""; 0], "{program}: nothing is left in the container");

        let mut run = start(&app, folder.path(), number + 1, "unwanted", &inside).await;
        within(10, "it listens", async || run.output().contains("Listening for Jobs")).await;
        run.signal();
        let (status, said) = run.end(15).await;
        assert!(status == Some(143) && said.contains("ended as told"), "{program}: {status:?} {said}");
        assert_eq!(processes_of(&scratch), [""; 0], "{program}");
    }
}
