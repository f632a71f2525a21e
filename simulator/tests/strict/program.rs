//! The stand-in for the runner program leaves what the real one leaves, and ends as it does.

use std::path::Path;
use std::process::{Command, Output};

use gha_slurm_simulator::github::JobStatus;
use gha_slurm_simulator::runner;
use serde_json::{Value, json};

use super::client::{Client, ONE};

/// Runs one of its scripts; a script that cannot be run is a failure.
pub(crate) async fn run(
    client: &Client,
    folder: &Path,
    command: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut script = Command::new(folder.join(command[0]));
    script.args(&command[1..]).env(runner::GITHUB_VARIABLE, client.github.url()).envs(variables.iter().copied());
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

pub(crate) fn installed(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("gha-slurm-stand-in-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    runner::install(&folder).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jit_configuration_is_written_to_its_files() {
    let (client, folder) = (Client::new().await, installed("jit"));
    let token = client.token(Value::Null).await;
    let (_, made) = client.jit(ONE, &token, "gha-slurm-1-1").await;
    let config = made["encoded_jit_config"].as_str().unwrap();
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    let (status, said) = run(&client, &folder, &["run.sh"], &[("ACTIONS_RUNNER_INPUT_JITCONFIG", config)]).await;
    assert!(status == Some(0) && said.contains("completed with result: Succeeded"), "{said}");
    assert_eq!(client.github.job(job).unwrap().status, JobStatus::Completed("success".to_owned()));
    let settings: Value = serde_json::from_slice(&std::fs::read(folder.join(".runner")).unwrap()).unwrap();
    assert_eq!(
        (&settings["AgentName"], &settings["GitHubUrl"]),
        (&json!("gha-slurm-1-1"), &json!("https://github.com/octo/one"))
    );
    assert!(folder.join(".credentials").exists() && folder.join(".credentials_rsaparams").exists());

    let (status, said) = run(&client, &folder, &["run.sh"], &[("ACTIONS_RUNNER_INPUT_JITCONFIG", config)]).await;
    assert!(status == Some(0) && said.contains("has been deleted from the server"), "once: {said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_cannot_start_from_ends_it() {
    let (client, folder) = (Client::new().await, installed("bad"));
    for config in ["%", "eyJqaXQiOiIxIn0=", "e30="] {
        let jit = [("ACTIONS_RUNNER_INPUT_JITCONFIG", config)];
        assert_eq!(run(&client, &folder, &["bin/Runner.Listener", "run"], &jit).await.0, Some(1), "{config}");
        let (status, said) = run(&client, &folder, &["run.sh"], &jit).await;
        assert!(status == Some(0) && said.contains("terminated error"), "{config}: {said}");
    }
    let (status, said) = run(&client, &folder, &["bin/Runner.Listener", "run"], &[]).await;
    assert!(status == Some(1) && said.contains("Not configured"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_leaves_its_settings_and_can_be_removed() {
    let (client, folder) = (Client::new().await, installed("register"));
    let token = client.token(Value::Null).await;
    let path = format!("/repos/{ONE}/actions/runners/registration-token");
    let (_, made) = client.call("POST", &path, &token, Value::Null).await;
    let registration = [("ACTIONS_RUNNER_INPUT_TOKEN", made["token"].as_str().unwrap())];
    let url = "https://github.com/octo/one";
    let configure = ["config.sh", "--unattended", "--ephemeral", "--url", url, "--name", "a", "--labels", "x,y"];
    let (status, said) = run(&client, &folder, &configure, &[("ACTIONS_RUNNER_INPUT_TOKEN", "wrong")]).await;
    assert!(status == Some(1) && !folder.join(".runner").exists(), "{said}");
    let (status, said) = run(&client, &folder, &configure, &registration).await;
    assert_eq!(status, Some(0), "{said}");
    let written = std::fs::read_to_string(folder.join(".runner")).unwrap();
    let settings: Value = serde_json::from_str(written.strip_prefix('\u{feff}').unwrap()).unwrap();
    assert_eq!((&settings["gitHubUrl"], &settings["agentName"]), (&json!(url), &json!("a")));
    assert!(settings["agentId"].is_u64() && settings["workFolder"] == "_work", "{settings}");
    assert_eq!(client.github.runners(), ["a"]);

    let deprecated = [("STAND_IN_LISTENER_EXIT", "7"), ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1")];
    assert_eq!(run(&client, &folder, &["run.sh"], &deprecated).await.0, Some(7));
    assert_eq!(run(&client, &folder, &["run.sh"], &deprecated[..1]).await.0, Some(0), "as if there had been no job");
    let (status, said) = run(&client, &folder, &configure, &registration).await;
    assert!(status == Some(1) && said.contains("already configured"), "{said}");
    let (status, said) = run(&client, &folder, &["config.sh", "remove"], &registration).await;
    assert!(status == Some(0) && client.github.runners().is_empty() && !folder.join(".runner").exists(), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// As of actions/runner: run.sh, run-helper.sh.template and update.sh.template.
#[tokio::test(flavor = "multi_thread")]
async fn its_scripts_tell_what_became_of_the_listener() {
    let (client, folder) = (Client::new().await, installed("statuses"));
    let token = client.token(Value::Null).await;
    let (_, made) = client.jit(ONE, &token, "gha-slurm-1-1").await;
    let jit = ("ACTIONS_RUNNER_INPUT_JITCONFIG", made["encoded_jit_config"].as_str().unwrap());
    let asked = ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1");
    for (listener, helper, words) in [
        ("0", 0, "exit with 0 return code"),
        ("1", 0, "terminated error"),
        ("2", 2, "retryable error, re-launch runner in 5 seconds"),
        ("5", 0, "Session Conflict"),
        ("6", 0, "unknown error code: 6"),
        ("7", 7, "deprecated version exit code: 7"),
    ] {
        // Started by run.sh, which copies it anew each time.
        std::fs::copy(folder.join("run-helper.sh.template"), folder.join("run-helper.sh")).unwrap();
        let _ = std::fs::remove_file(folder.join(".starts"));
        let exit = ("STAND_IN_LISTENER_EXIT", listener);
        let (status, said) = run(&client, &folder, &["run-helper.sh"], &[jit, asked, exit]).await;
        assert!(status == Some(helper) && said.contains(words), "{listener}: {status:?} {said}");
    }
    // 3 and 4 are an update, for whose end the helper waits.
    for listener in ["3", "4"] {
        std::fs::write(folder.join("update.finished"), "").unwrap();
        let (status, said) =
            run(&client, &folder, &["run-helper.sh"], &[jit, ("STAND_IN_LISTENER_EXIT", listener)]).await;
        assert!(status == Some(2) && said.contains("Update finished successfully."), "{listener}: {said}");
    }
    std::fs::write(folder.join("run-helper.sh"), "an older one").unwrap();
    let (job, _) = client.github.queue_job(ONE, &["x"]).await;
    let (status, said) = run(&client, &folder, &["run.sh"], &[jit, ("STAND_IN_UPDATE", "2.301.0")]).await;
    assert!(status == Some(0) && said.contains("Restarting runner...") && said.contains("Succeeded"), "{said}");
    assert_eq!(client.github.job(job).unwrap().status, JobStatus::Completed("success".to_owned()));
    assert!(folder.join("bin").is_symlink() && folder.join("bin.2.300.0").is_dir(), "its folders have versions now");
    let (_, said) = run(&client, &folder, &["bin/Runner.Listener", "--version"], &[]).await;
    assert_eq!(said, "2.301.0\n");
    std::fs::remove_dir_all(&folder).unwrap();
}
