//! The stand-in runs hooks and steps as the real runner does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gha_slurm_simulator::github::{JobSpec, JobStatus, Person, run_of};
use serde_json::Value;

use super::client::{Client, ONE};
use super::program::{installed, run};

struct Ran {
    client: Client,
    folder: PathBuf,
    job: u64,
    said: String,
    status: Option<i32>,
}

impl Ran {
    /// A job with the files `hook.sh` and `end.sh` of the runner's folder as hooks.
    async fn of(name: &str, spec: JobSpec, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let (client, folder) = (Client::new().await, installed(name));
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
            std::fs::set_permissions(folder.join(file), std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let config = client.github.make_jit_config(ONE, "a", &["x"]);
        let (job, _) = client.github.queue(spec).await;
        let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
        let (hook, end, steps) = (path("hook.sh"), path("end.sh"), path("steps"));
        let mut environment = vec![
            ("ACTIONS_RUNNER_INPUT_JITCONFIG", config.as_str()),
            ("ACTIONS_RUNNER_HOOK_JOB_STARTED", &hook),
            ("STAND_IN_STEPS", &steps),
            ("STAND_IN_JOB_SECONDS", "0"),
        ];
        if files.iter().any(|(file, _)| *file == "end.sh") {
            environment.push(("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", &end));
        }
        environment.extend(variables);
        let (status, said) = run(&client, &folder, &["run.sh"], &environment).await;
        Self { client, folder, job, said, status }
    }

    fn conclusion(&self) -> JobStatus {
        self.client.github.job(self.job).unwrap().status
    }

    /// The names of the steps that ran.
    fn steps(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("steps")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>().join(" ")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap()
    }

    fn log(&self) -> String {
        self.client.github.log(self.job).join("\n")
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ended(conclusion: &str) -> JobStatus {
    JobStatus::Completed(conclusion.to_owned())
}

fn push() -> JobSpec {
    JobSpec::new(ONE, &["x"])
}

/// A file of variables has this line.
fn has(file: &str, line: &str) -> bool {
    file.lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_sees_the_context_and_steps_the_workflows_variables() {
    let env = [("GITHUB_REPOSITORY", "evil/one"), ("BASH_ENV", "/evil"), ("COLOR", "red")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (actor, ada) = (Person::new("mallory", 66), Person::new("Ada-Lovelace", 583_231));
    let spec = JobSpec { env, actor, triggering_actor: Some(ada), ..push() };
    let root = "root=$(dirname \"$0\"); case $- in *e*) env >\"$root/hook.env\" ;; esac\n";
    let hook = format!("{root}cp \"$GITHUB_EVENT_PATH\" \"$root/event.json\"; echo FROM_HOOK=1 >>\"$GITHUB_ENV\"\n");
    let end = "env >\"$(dirname \"$0\")/end.env\"\n";
    let ran = Ran::of("context", spec, &[("hook.sh", &hook), ("end.sh", end)], &[]).await;
    assert_eq!((ran.conclusion(), ran.status), (ended("success"), Some(0)), "{} {}", ran.said, ran.log());
    assert_eq!(ran.steps(), "build always");
    let user = String::from_utf8(std::process::Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    assert!(has(&ran.file("steps"), &format!("build {} octo/one", user.trim())), "{}", ran.file("steps"));
    let (hook, build) = (ran.file("hook.env"), ran.file("step.env"));
    let id = ran.client.github.repository_id(ONE).unwrap();
    for line in [
        "GITHUB_REPOSITORY=octo/one",
        &format!("GITHUB_REPOSITORY_ID={id}"),
        "GITHUB_EVENT_NAME=push",
        "GITHUB_ACTOR=mallory",
        "GITHUB_ACTOR_ID=66",
        "GITHUB_TRIGGERING_ACTOR=Ada-Lovelace",
        "GITHUB_REF_NAME=main",
        "GITHUB_WORKFLOW_REF=octo/one/.github/workflows/ci.yml@refs/heads/main",
        &format!("GITHUB_RUN_ID={}", run_of(ran.job)),
        "GITHUB_RUN_ATTEMPT=1",
        "GITHUB_SERVER_URL=https://github.com",
        "RUNNER_NAME=a",
    ] {
        assert!(has(&hook, line) && has(&build, line) && has(&ran.file("end.env"), line), "{line}: {hook}");
    }
    assert!(!hook.contains("COLOR=") && !hook.contains("BASH_ENV="), "{hook}");
    assert!(has(&build, "COLOR=red") && has(&build, "BASH_ENV=/evil") && has(&build, "FROM_HOOK=1"), "{build}");
    assert!(has(&ran.file("always.env"), "COLOR=red"));
    assert!(!build.contains("ACTIONS_RUNNER_INPUT_"), "{build}");
    let event: Value = serde_json::from_str(&ran.file("event.json")).unwrap();
    assert_eq!((&event["repository"]["id"], &event["repository"]["visibility"]), (&id.into(), &"private".into()));
    assert!(ran.folder.join("_work/_temp/_github_workflow/event.json").exists());
    let worker = std::fs::read_dir(ran.folder.join("_diag")).unwrap().next().unwrap().unwrap().file_name();
    assert!(worker.to_str().unwrap().starts_with("Worker_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_leaves_the_steps_with_always() {
    let hook = "echo '::error::not for you'\nexit 7\n";
    let ran = Ran::of("fails", push(), &[("hook.sh", hook), ("end.sh", "echo ended\n")], &[]).await;
    assert_eq!((ran.conclusion(), ran.status), (ended("failure"), Some(0)), "the listener's status tells nothing");
    assert_eq!(ran.steps(), "always");
    assert!(ran.said.contains("Running step: always") && !ran.said.contains("Running step: build"), "{}", ran.said);
    assert!(ran.said.contains("completed with result: Failed"), "{}", ran.said);
    let log = ran.log();
    assert!(has(&log, "##[error]not for you") && has(&log, "##[error]Process completed with exit code 7."), "{log}");
    assert!(has(&log, "ended"), "{log}");
    assert!(!ran.said.contains("not for you"), "the log is GitHub's: {}", ran.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_no_script_fails_the_job() {
    let ran = Ran::of("none", push(), &[], &[]).await;
    assert_eq!((ran.conclusion(), ran.steps()), (ended("failure"), "always".to_owned()));
    assert!(ran.log().contains("File doesn't exist"), "{}", ran.log());
    let other = Path::new("/proc/self/status").to_str().unwrap();
    let ran = Ran::of("other", push(), &[], &[("ACTIONS_RUNNER_HOOK_JOB_STARTED", other)]).await;
    assert_eq!((ran.conclusion(), ran.steps()), (ended("failure"), "always".to_owned()));
    assert!(ran.log().contains("Make sure it ends in '.sh'"), "{}", ran.log());
    let ran = Ran::of("stopped", push(), &[("hook.sh", "false\necho went on\n")], &[]).await;
    assert_eq!((ran.conclusion(), ran.log().contains("went on")), (ended("failure"), false), "bash -e");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_fails_its_job_and_runs_nothing() {
    let ran = Ran::of("worker", push(), &[("hook.sh", "kill -KILL $PPID\nsleep 0.2\n")], &[]).await;
    assert_eq!((ran.conclusion(), ran.steps()), (ended("failure"), String::new()), "{}", ran.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_listener_is_killed_fails_when_github_gives_it_up() {
    let hook = "listener=$(sed 's/.*) //' /proc/$PPID/stat | cut -d' ' -f2)\nkill -KILL $PPID $listener\n";
    let ran = Ran::of("listener", push(), &[("hook.sh", hook)], &[]).await;
    assert_eq!((ran.conclusion(), ran.steps()), (JobStatus::InProgress, String::new()), "{}", ran.said);
    assert_eq!(ran.client.github.runners(), ["a"]);
    ran.client.github.lose_runner("a").await;
    assert_eq!(ran.conclusion(), ended("failure"));
    assert!(ran.client.github.runners().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runners_folder_says_is_stronger_than_the_environment() {
    let env = "ACTIONS_RUNNER_HOOK_JOB_STARTED=\n";
    let ran = Ran::of("dotenv", push(), &[("hook.sh", "exit 1\n"), (".env", env)], &[]).await;
    assert_eq!((ran.conclusion(), ran.steps()), (ended("success"), "build always".to_owned()), "{}", ran.log());
}
