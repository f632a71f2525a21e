//! The script that a Slurm job runs: the built-in one, or the administrator's template with the original's placeholders.
//!
//! A script holds no secret, because Slurm shows it to everything that runs as its user. The built-in one is constant; a
//! launch's values are its environment. A template gets its values by substitution, in one pass, so that no value is
//! searched for placeholders; the values are inert by [`crate::launch`]'s patterns and quoted besides. Filled in, it holds
//! the launch token: so it goes in the environment as well, and what Slurm gets is a constant script that runs it.

use gha_slurm_protocol::secret::Secret;

use crate::config::Job;
use crate::launch::Launch;

/// The built-in script.
pub const BUILT_IN: &str = include_str!("job_script.sh");

/// The check of each job on the node, before its first step.
const CHECK: &str = include_str!("check.sh");

/// Runs a filled-in template.
const TEMPLATE_RUNNER: &str = include_str!("template_runner.sh");

/// The variable that carries a Slurm job's whole environment where there is no other way, as assignments of a shell.
pub(crate) const EXPORTS: &str = "GHA_SLURM_EXPORTS";

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What each Slurm job's environment holds. Slurm sets neither HOME nor USER for a job that came by REST.
fn base(user: &str, home: &str, job: &Job) -> Vec<(String, Secret)> {
    let own = [("HOME", home), ("USER", user), ("LOGNAME", user), ("PATH", "/usr/local/bin:/usr/bin:/bin")];
    let mut all: Vec<_> = own.map(|(name, value)| (name.to_owned(), Secret::new(value))).into();
    // The administrator's own value wins.
    if let Some(file) = &job.ca_file {
        // curl, OpenSSL (and with it the runner and git), and actions in JavaScript.
        let names = ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
        all.extend(names.map(|name| (name.to_owned(), Secret::new(fill(file, user, home)))));
    }
    all.retain(|(name, _)| !job.environment.contains_key(name));
    all.extend(job.environment.iter().map(|(name, value)| (name.clone(), Secret::new(value))));
    all
}

/// The built-in script's environment for one launch. `policy` is what [`CHECK`] goes by.
pub(crate) fn environment(launch: &Launch, user: &str, home: &str, job: &Job, policy: &str) -> Vec<(String, Secret)> {
    let mut all = base(user, home, job);
    let place = |path: &Option<String>| path.as_ref().map(|path| fill(path, user, home));
    let own = [
        ("TOKEN", Some(launch.token.expose().to_owned())),
        ("TOKEN_URL", Some(launch.redeem_url.to_string())),
        ("URL", Some(launch.url.clone())),
        ("NAME", Some(launch.runner_name.clone())),
        ("LABELS", Some(launch.labels.clone())),
        ("OWNER_PAGE", launch.owner_page().map(str::to_owned)),
        ("CHECK", Some(CHECK.to_owned())),
        ("POLICY", Some(policy.to_owned())),
        ("HOOK_STARTED", place(&job.hooks.started)),
        ("HOOK_COMPLETED", place(&job.hooks.completed)),
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

/// The original's template for one launch: the script that runs it, and its environment, which the template is part of.
pub(crate) fn from_template(
    template: &str,
    launch: &Launch,
    user: &str,
    home: &str,
    job: &Job,
) -> (String, Vec<(String, Secret)>) {
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
    let runner = run_template(&script, launch.token.expose());
    let mut environment = base(user, home, job);
    environment.push(("GHA_SLURM_TEMPLATE".to_owned(), Secret::new(script)));
    (runner, environment)
}

/// The constant script that runs a template by the template's own interpreter. sbatch reads its options from the script,
/// so those stand here, too.
fn run_template(template: &str, token: &str) -> String {
    let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_. ".contains(&byte));
    let named = template.lines().next().and_then(|first| first.strip_prefix("#!")).map(str::trim);
    let interpreter = named.filter(plain).filter(|text| text.starts_with('/')).unwrap_or("/bin/bash");
    let options = template.lines().filter(|line| line.starts_with("#SBATCH") && !line.contains(token));
    let options: String = options.map(|line| format!("{line}\n")).collect();
    TEMPLATE_RUNNER.replacen("#OPTIONS\n", &options, 1).replacen("INTERPRETER", interpreter, 1)
}

/// An environment as assignments of a shell.
pub(crate) fn exports(environment: &[(String, Secret)]) -> String {
    environment.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value.expose()))).collect()
}

/// The script with a first line that takes its environment out of [`EXPORTS`]. sbatch's own options stay before it.
pub(crate) fn with_import(script: &str) -> String {
    let comments = script.split_inclusive('\n').take_while(|line| line.starts_with('#'));
    let (before, after) = script.split_at(comments.map(str::len).sum());
    // By SLURM_EXPORT_ENV, which is sbatch's --export, srun in a step would give its tasks that variable alone.
    format!(
        "{before}if [[ -n ${{{EXPORTS}:-}} ]]; then eval \"${EXPORTS}\" && unset {EXPORTS} SLURM_EXPORT_ENV; fi\n{after}"
    )
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
        let value = |name: &str| environment.iter().find(|(each, _)| each == name).map(|(_, value)| value.expose());
        assert_eq!(
            value("GHA_SLURM_TEMPLATE").unwrap(),
            "#!/bin/bash\nTOKEN=a.b.c\n./config.sh --unattended --replace --url https://github.com/o/r --token \
             $GHTOKEN --ephemeral --work gha_work --name 'n' --labels 'x,y'\ngrep Running \
             /home/alice/gha-slurm-${SLURM_JOB_ID}.out $USER %OTHER%"
        );
        assert_eq!(value("USER"), Some("alice"));
        assert_eq!(value("GHA_SLURM_TOKEN"), None, "the token is for the template only");
        assert!(!script.contains("a.b.c"), "{script}");
    }

    #[test]
    fn a_template_keeps_its_interpreter_and_its_options() {
        let template = "#!/usr/bin/env python3\n#SBATCH --constraint=fast\n#SBATCH --comment=TOKEN\nprint(1)\n";
        let script = run_template(template, "TOKEN");
        assert!(script.starts_with("#!/bin/bash\n#SBATCH --constraint=fast\n#"), "{script}");
        assert!(script.contains("exec /usr/bin/env python3 /dev/fd/9") && !script.contains("TOKEN\n"), "{script}");
        assert!(run_template("#!$(id)\n", "x").contains("exec /bin/bash /dev/fd/9"));
        let imported = with_import(&script);
        let (options, import) = (imported.find("#SBATCH").unwrap(), imported.find("eval").unwrap());
        assert!(options < import, "sbatch reads no options after the first command: {imported}");
    }

    /// As sbatch passes it on: one variable, and the script.
    #[test]
    fn an_environment_survives_a_shell() {
        let environment = [("A", "it's"), ("B", "two\nlines"), ("PATH", "/usr/bin:/bin")];
        let environment = environment.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let script = with_import(
            "#!/bin/bash\nprintf '%s,%s,%s' \"$A\" \"$B\" \"${GHA_SLURM_EXPORTS-${SLURM_EXPORT_ENV-gone}}\"\n",
        );
        let mut bash = std::process::Command::new("/bin/bash");
        let output = bash
            .env_clear()
            .env(EXPORTS, exports(&environment))
            .env("SLURM_EXPORT_ENV", EXPORTS)
            .args(["-c", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "it's,two\nlines,gone");
    }

    #[test]
    fn a_ca_file_reaches_each_program_in_its_own_variable() {
        let job = Job { ca_file: Some("/etc/ca.pem".to_owned()), ..Job::default() };
        let environment = base("alice", "/home/alice", &job);
        for name in ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
            assert!(environment.iter().any(|(each, value)| each == name && value.expose() == "/etc/ca.pem"), "{name}");
        }
    }

    #[test]
    fn the_scripts_satisfy_shellcheck() {
        let Ok(output) = std::process::Command::new("shellcheck")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/job_script.sh"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/check.sh"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/script/template_runner.sh"))
            .output()
        else {
            println!("skipped: shellcheck is not installed");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
