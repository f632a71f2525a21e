//! Whether a configuration would work and how safe it is, asked without submitting or keeping anything.

use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::backend::controller::SlurmConf;
use crate::backend::user::{Forbidden, is_system_user, usual_slurm_user};
use crate::backend::{Backend, BackendError};
use crate::config::{BackendKind, Config, ConfigError};
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

/// Reads certificate and keys, looks at the state folder, and asks Slurm something harmless as each mapped user.
pub async fn check(config: &Config) -> Result<Vec<Finding>, ConfigError> {
    let backend = Backend::open(config)?;
    config.tls.as_ref().map(acceptor).transpose()?;
    let folder = &config.state_directory;
    let mut findings = vec![state_directory(format!("stateDirectory {}", folder.display()), folder)];
    findings.extend(config.weaknesses().into_iter().map(|(key, line)| finding(key, Verdict::Warning, line)));
    findings.extend(sudo(config));
    let mut slurm_user = usual_slurm_user();
    if backend.changes_user() {
        let conf = SlurmConf::ask(&config.scontrol).await;
        slurm_user = conf.as_ref().ok().and_then(|conf| conf.slurm_user).or(slurm_user);
        findings.push(proctrack(conf));
    }
    let forbidden = Forbidden { min_uid: config.min_uid, slurm_user };
    for user in config.mapping.users() {
        let answer = match backend.account(user).await {
            Ok(account) => backend.probe(user).await.map(|line| (account.uid, line)),
            Err(error) => Err(error),
        };
        let reason = |uid| forbidden.reason(uid).filter(|_| backend.changes_user());
        findings.push(match answer.map_err(|error: BackendError| error.to_string()) {
            Ok((uid, line)) => match reason(uid) {
                Some(reason) => finding(user, Verdict::Wrong, format!("no runner runs as this user: {reason}")),
                None => finding(user, Verdict::Ok, line),
            },
            Err(error) => finding(user, Verdict::Wrong, error),
        });
        if backend.changes_user()
            && let Ok(account) = backend.account(user).await
            && is_system_user(account.uid)
            && reason(account.uid).is_none()
        {
            let line = format!("uid {} is a system user's; minUid: 1000 would refuse it", account.uid);
            findings.push(finding(user, Verdict::Warning, line));
        }
    }
    Ok(findings)
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
        let of = |kind: &str| proctrack(Ok(SlurmConf { proctrack: Some(kind.to_owned()), slurm_user: None })).verdict;
        assert_eq!(of("proctrack/cgroup"), Verdict::Ok);
        for kind in ["proctrack/linuxproc", "proctrack/pgid"] {
            assert_eq!(of(kind), Verdict::Warning, "{kind}");
        }
        assert_eq!(proctrack(Err("scontrol: not found".to_owned())).verdict, Verdict::Warning);
    }
}
