//! The script that a Slurm job runs: the built-in one, or the administrator's template with the original's placeholders.
//!
//! The built-in script is constant; a launch's values are its environment. A template gets its values by substitution,
//! in one pass, so that no value is searched for placeholders; the values are inert by [`crate::launch`]'s patterns and
//! quoted besides.

use gha_slurm_protocol::secret::Secret;

use crate::backend::JobSpec;
use crate::config::Job;
use crate::launch::Launch;

/// The built-in script.
pub const BUILT_IN: &str = include_str!("job_script.sh");

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What each Slurm job's environment holds. Slurm sets neither HOME nor USER for a job that came by REST.
fn base(user: &str, home: &str, job: &Job) -> Vec<(String, Secret)> {
    let own = [("HOME", home), ("USER", user), ("LOGNAME", user), ("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let mut all: Vec<_> = own.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
    // The administrator's own value wins.
    all.retain(|(name, _)| !job.environment.contains_key(name));
    all.extend(job.environment.iter().map(|(name, value)| (name.clone(), Secret::new(value))));
    all
}

/// The built-in script's environment for one launch.
pub(crate) fn environment(launch: &Launch, user: &str, home: &str, job: &Job) -> Vec<(String, Secret)> {
    let mut all = base(user, home, job);
    let place = |path: &Option<String>| path.as_ref().map(|path| fill(path, user, home));
    let own = [
        ("TOKEN", Some(launch.token.expose().to_owned())),
        ("TOKEN_URL", Some(launch.token_url.clone())),
        ("URL", Some(launch.url.clone())),
        ("NAME", Some(launch.runner_name.clone())),
        ("LABELS", Some(launch.labels.clone())),
        ("RUNNER", place(&job.runner)),
        ("RUNNER_SHA256", job.runner_sha256.clone()),
        ("SCRATCH", place(&job.scratch)),
        ("CONTAINER", Some(job.container.join("\n")).filter(|words| !words.is_empty())),
        ("IDLE_SECONDS", Some(job.idle_seconds.to_string())),
        ("RETRY_SECONDS", Some(job.retry_seconds.to_string())),
        ("GRACE_SECONDS", Some(job.grace_seconds.to_string())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((format!("GHA_SLURM_{name}"), Secret::new(value?))));
    all.extend(own);
    all
}

/// A configured path for one user.
pub(crate) fn fill(path: &str, user: &str, home: &str) -> String {
    path.replace("{user}", user).replace("{home}", home)
}

/// The original's template for one launch, and its environment.
pub(crate) fn from_template(
    template: &str,
    launch: &Launch,
    user: &str,
    home: &str,
    job: &Job,
) -> (Secret, Vec<(String, Secret)>) {
    let mut line = format!(
        "--unattended --replace --url {} --token $GHTOKEN --ephemeral --work gha_work --name {}",
        launch.url,
        quoted(&launch.runner_name)
    );
    if !launch.labels.is_empty() {
        line.push_str(&format!(" --labels {}", quoted(&launch.labels)));
    }
    // Bare, because templates put it in quotes of their own; a JWT has no character that means anything there.
    let log = fill(&job.output, user, home).replace("%j", "${SLURM_JOB_ID}");
    let values = [("%LAUNCH_TOKEN%", launch.token.expose()), ("%RUNNER_CONFIG_LINE%", &line), ("%LOG_FILE%", &log)];
    let mut script = String::new();
    let mut rest = template;
    while let Some((at, placeholder, value)) =
        values.iter().filter_map(|(name, value)| Some((rest.find(name)?, *name, *value))).min_by_key(|(at, ..)| *at)
    {
        let (before, after) = rest.split_at(at);
        script.push_str(before);
        script.push_str(value);
        rest = after.strip_prefix(placeholder).unwrap_or_default();
    }
    script.push_str(rest);
    (Secret::new(script), base(user, home, job))
}

/// The script with its environment written into it, for what can carry none.
pub(crate) fn with_environment(job: &JobSpec) -> String {
    let exports: String =
        job.environment.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value.expose()))).collect();
    match job.script.expose().split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => format!("{first}\n{exports}{rest}"),
        _ => format!("#!/bin/bash\n{exports}{}", job.script.expose()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_holds_against_a_real_shell() {
        for text in ["a b", "it's", "$(id) `id` \"\\", "'; touch /tmp/x; '", "*", "!x\ty"] {
            let output =
                std::process::Command::new("bash").args(["-c", &format!("printf %s {}", quoted(text))]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text);
        }
    }

    #[test]
    fn a_template_is_filled_in_one_pass() {
        let launch = Launch::try_from(
            serde_json::from_value::<gha_slurm_protocol::messages::StartRunner>(serde_json::json!({
                "gitHubURL": "https://github.com/o/r", "launcherToken": "a.b.c", "runnerLabels": "x,y",
                "tokenURL": "https://app.example/gha/runner", "runnerName": "n",
            }))
            .unwrap(),
        )
        .unwrap();
        let template = "#!/bin/bash\nTOKEN=%LAUNCH_TOKEN%\n./config.sh %RUNNER_CONFIG_LINE%\ngrep Running %LOG_FILE% $USER %OTHER%";
        let (script, environment) = from_template(template, &launch, "alice", "/home/alice", &Job::default());
        assert_eq!(
            script.expose(),
            "#!/bin/bash\nTOKEN=a.b.c\n./config.sh --unattended --replace --url https://github.com/o/r --token \
             $GHTOKEN --ephemeral --work gha_work --name 'n' --labels 'x,y'\ngrep Running \
             /home/alice/gha-slurm-${SLURM_JOB_ID}.out $USER %OTHER%"
        );
        assert!(environment.iter().any(|(name, value)| name == "USER" && value.expose() == "alice"));
        assert!(
            !environment.iter().any(|(name, _)| name.starts_with("GHA_SLURM_")),
            "the token is for the script only"
        );
    }

    #[test]
    fn the_built_in_script_satisfies_shellcheck() {
        let Ok(output) = std::process::Command::new("shellcheck")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/job_script.sh"))
            .output()
        else {
            println!("skipped: shellcheck is not installed");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
