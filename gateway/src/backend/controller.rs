//! What Slurm's own configuration says that matters here, by `scontrol show config`.

use std::time::Duration;

use super::command::{command, run};

const DEADLINE: Duration = Duration::from_secs(15);

/// Three of slurm.conf's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlurmConf {
    /// How Slurm finds the processes of a job, such as `proctrack/cgroup`.
    pub proctrack: Option<String>,
    /// The uid of SlurmUser, who can do all that root can in Slurm.
    pub slurm_user: Option<u32>,
    /// Whether every user sees all Slurm jobs: PrivateData, if it is told, does not name jobs.
    pub shows_all_jobs: bool,
}

impl SlurmConf {
    /// Asks by the configured command, as the gateway's own user.
    pub async fn ask(scontrol: &[String]) -> Result<Self, String> {
        let (program, words) = scontrol.split_first().ok_or("no command")?;
        let mut asked = command(program);
        asked.args(words).args(["show", "config"]);
        match run(&mut asked, "", DEADLINE).await {
            Ok(Some(output)) if output.status.success() => Ok(Self::read(&String::from_utf8_lossy(&output.stdout))),
            Ok(Some(output)) => {
                let words = String::from_utf8_lossy(&output.stderr);
                Err(format!("{program}: {}, {}", output.status, words.trim().chars().take(200).collect::<String>()))
            }
            Ok(None) => Err(format!("{program} does not end")),
            Err(error) => Err(format!("{program}: {error}")),
        }
    }

    fn read(printed: &str) -> Self {
        let value = |name: &str| {
            printed.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        // `slurm(64030)`
        let uid = |text: String| text.rsplit_once('(')?.1.strip_suffix(')')?.parse().ok();
        let private = value("PrivateData");
        let shows_all_jobs = private.is_some_and(|kinds| !kinds.split(',').any(|kind| matches!(kind, "jobs" | "all")));
        Self { proctrack: value("ProctrackType"), slurm_user: value("SlurmUser").and_then(uid), shows_all_jobs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_settings_are_read() {
        let printed = "Configuration data as of 2026-11-27\nProctrackType           = proctrack/linuxproc\n\
                       SlurmUser               = slurm(64030)\nSlurmdUser              = root(0)\n\
                       PrivateData             = none\n";
        let expected = SlurmConf {
            proctrack: Some("proctrack/linuxproc".to_owned()),
            slurm_user: Some(64_030),
            shows_all_jobs: true,
        };
        assert_eq!(SlurmConf::read(printed), expected);
        for private in ["accounts,jobs,usage", "jobs"] {
            assert!(!SlurmConf::read(&printed.replace("none", private)).shows_all_jobs, "{private}");
        }
        assert_eq!(SlurmConf::read("= =(\nSlurmUser = x()"), SlurmConf::default());
    }
}
