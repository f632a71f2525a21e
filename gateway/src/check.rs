//! Whether a configuration would work and how safe it is, asked without submitting or keeping anything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use gha_slurm_protocol::exchange::Exchange;
use gha_slurm_protocol::identity::{Login, SlurmUser};
use nix::unistd::{AccessFlags, access};

use crate::backend::Backend;
use crate::backend::controller::SlurmConf;
use crate::backend::user::{FIRST_ORDINARY, Forbidden, is_system_user, usual_slurm_user};
use crate::config::{AppUrls, BackendKind, Config, ConfigError, Fetching, RepositoryUrl};
use crate::fetching::{Client, own_name};
use crate::runner::age_of;
use crate::tls::acceptor;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and is not safe.
    Warning,
    /// It does not work.
    Wrong,
}

/// What was looked at, and how it is.
#[derive(Debug)]
pub struct Finding {
    /// A Slurm user, or a key of the configuration.
    pub subject: String,
    /// How it is.
    pub verdict: Verdict,
    /// A line for people.
    pub line: String,
}

fn finding(subject: impl Into<String>, verdict: Verdict, line: impl Into<String>) -> Finding {
    Finding { subject: subject.into(), verdict, line: line.into() }
}

/// Reads certificate and keys, looks at the state folder, asks Slurm something harmless as each mapped user, and has one
/// empty exchange with the app from which launches are fetched.
pub async fn check(config: &Config) -> Result<Vec<Finding>, ConfigError> {
    let backend = Backend::open(config)?;
    config.tls.as_ref().map(acceptor).transpose()?;
    let folder = &config.state_directory;
    let mut findings = vec![state_directory(format!("stateDirectory {}", folder.display()), folder)];
    findings.extend(config.weaknesses().into_iter().map(|(key, line)| finding(key, Verdict::Warning, line)));
    findings.extend(sudo(config));
    findings.extend(runner(config));
    if let Some(fetching) = &config.fetching {
        findings.push(exchange(fetching, config.app.as_ref()).await?);
    }
    let mut slurm_user = usual_slurm_user();
    if backend.changes_user() {
        let conf = SlurmConf::ask(&config.scontrol).await;
        slurm_user = conf.as_ref().ok().and_then(|conf| conf.slurm_user).or(slurm_user);
        findings.push(proctrack(conf));
    }
    let mut users: BTreeMap<String, u32> =
        config.mapping.users().map(|user| (user.to_owned(), config.min_uid.unwrap_or(1))).collect();
    match people(config).await {
        Ok(named) => {
            for user in named {
                users.entry(user.to_string()).or_insert_with(|| config.min_uid.unwrap_or(FIRST_ORDINARY));
            }
        }
        Err(problem) => findings.push(finding("people", Verdict::Wrong, problem)),
    }
    for (user, min_uid) in users {
        findings.extend(slurm_users(&backend, &user, Forbidden { min_uid, slurm_user }).await);
        findings.push(finding(format!("{user} policy"), Verdict::Ok, config.policies.of(&user).to_string()));
    }
    Ok(findings)
}

/// Whether the app knows the cluster. With no room, nothing is handed out; what is to be cancelled is told again.
async fn exchange(fetching: &Fetching, urls: Option<&AppUrls>) -> Result<Finding, ConfigError> {
    let subject = format!("app.cluster {}", fetching.cluster);
    let said = Exchange { gateway: own_name(), ..Exchange::default() };
    let asked = Client::new(fetching)?.exchange(&said, &fetching.secret).await;
    Ok(match asked {
        Ok(answer) => match urls.zip(answer.public_url).and_then(|(urls, public)| urls.differ_from(&public)) {
            Some(line) => finding(subject, Verdict::Wrong, line),
            None => finding(subject, Verdict::Ok, format!("{} knows it", fetching.url)),
        },
        Err(error) => finding(subject, Verdict::Wrong, error.to_string()),
    })
}

async fn people(config: &Config) -> Result<Vec<SlurmUser>, String> {
    match &config.people {
        Some(people) => people.users().await,
        None => Ok(Vec::new()),
    }
}

/// Which Slurm users a person may be in a repository, by everything that the configuration has.
pub async fn who(config: &Config, login: &Login, id: Option<u64>, page: &str) -> Result<Vec<String>, String> {
    let people = config.people.as_ref().ok_or("people is not set, so a workflow names no Slurm user")?;
    let (repository, page) =
        RepositoryUrl::with_page(page).ok_or_else(|| format!("{page:?} is not the page of a repository"))?;
    let users = people.users_of(login, id, (&repository, &page), &config.mapping).await?;
    Ok(users.into_iter().map(String::from).collect())
}

/// Whether a Slurm user exists, is one that runners run as, and is answered by Slurm.
async fn slurm_users(backend: &Backend, user: &str, forbidden: Forbidden) -> Vec<Finding> {
    let account = match backend.account(user).await {
        Ok(account) => account,
        Err(error) => return vec![finding(user, Verdict::Wrong, error.to_string())],
    };
    let reason = forbidden.reason(account.uid).filter(|_| backend.changes_user());
    if let Some(reason) = reason {
        return vec![finding(user, Verdict::Wrong, format!("no runner runs as this user: {reason}"))];
    }
    let mut findings = vec![match backend.probe(user).await {
        Ok(line) => finding(user, Verdict::Ok, line),
        Err(error) => finding(user, Verdict::Wrong, error.to_string()),
    }];
    if backend.changes_user() && is_system_user(account.uid) {
        let line = format!("uid {} is a system user's; minUid: 1000 would refuse it", account.uid);
        findings.push(finding(user, Verdict::Warning, line));
    }
    findings
}

/// A workflow can start a process that has neither the runner's environment nor its session; the job script does not find
/// that one.
fn proctrack(conf: Result<SlurmConf, String>) -> Finding {
    let (verdict, line) = match conf.map(|conf| conf.proctrack) {
        Ok(Some(kind)) if kind.ends_with("/cgroup") => {
            (Verdict::Ok, format!("{kind}: nothing that a workflow starts outlives its Slurm job"))
        }
        Ok(Some(kind)) => (
            Verdict::Warning,
            format!(
                "{kind}: a workflow's process outlives its Slurm job when it leaves its session and clears its environment (env -i setsid); proctrack/cgroup prevents it"
            ),
        ),
        Ok(None) => (
            Verdict::Warning,
            "scontrol show config does not tell it; proctrack/cgroup is needed so that nothing outlives its Slurm job"
                .to_owned(),
        ),
        Err(error) => (
            Verdict::Warning,
            format!("not known ({error}); proctrack/cgroup is needed so that nothing outlives its Slurm job"),
        ),
    };
    finding("ProctrackType", verdict, line)
}

/// sudo drops the environment, and with it the launch token.
fn sudo(config: &Config) -> Option<Finding> {
    let words = &config.backends.sbatch.sbatch;
    let by_sudo = words.first().is_some_and(|program| program == "sudo" || program.ends_with("/sudo"));
    let keeps = words.iter().any(|word| word == "-E" || word.starts_with("--preserve-env"));
    let line = "sudo drops the launch token: add --preserve-env=GHA_SLURM_EXPORTS, and SETENV in sudoers";
    (config.backends.kind == BackendKind::Sbatch && by_sudo && !keeps)
        .then(|| finding("sbatch.sbatch", Verdict::Wrong, line))
}

/// Where it differs by user, it is that one's to look after.
fn runner(config: &Config) -> Option<Finding> {
    let runner = config.job.runner.as_deref().filter(|runner| !runner.contains('{'))?;
    let age = age_of(Path::new(runner), SystemTime::now());
    let verdict = if age.due { Verdict::Warning } else { Verdict::Ok };
    Some(finding(format!("job.runner {runner}"), verdict, age.line))
}

fn state_directory(subject: String, folder: &Path) -> Finding {
    if !folder.exists() {
        return finding(subject, Verdict::Ok, "made at the first start");
    }
    match access(folder, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => finding(subject, Verdict::Ok, ""),
        Err(error) => finding(subject, Verdict::Wrong, format!("the gateway's user cannot write there: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cgroups_hold_what_leaves_its_session() {
        let of =
            |kind: &str| proctrack(Ok(SlurmConf { proctrack: Some(kind.to_owned()), ..SlurmConf::default() })).verdict;
        assert_eq!(of("proctrack/cgroup"), Verdict::Ok);
        for kind in ["proctrack/linuxproc", "proctrack/pgid"] {
            assert_eq!(of(kind), Verdict::Warning, "{kind}");
        }
        assert_eq!(proctrack(Err("scontrol: not found".to_owned())).verdict, Verdict::Warning);
    }
}
