//! What Slurm's own configuration says that matters for safety, by `scontrol show config`.

use std::time::Duration;

use super::command::{command, run};

const DEADLINE: Duration = Duration::from_secs(15);

/// Two of slurm.conf's settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlurmConf {
    /// How Slurm finds the processes of a job, such as `proctrack/cgroup`.
    pub proctrack: Option<String>,
    /// The uid of SlurmUser, who can do all that root can in Slurm.
    pub slurm_user: Option<u32>,
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
        Self { proctrack: value("ProctrackType"), slurm_user: value("SlurmUser").and_then(uid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_settings_are_read() {
        let printed = "Configuration data as of 2026-11-27\nProctrackType           = proctrack/linuxproc\n\
                       SlurmUser               = slurm(64030)\nSlurmdUser              = root(0)\n";
        let expected = SlurmConf { proctrack: Some("proctrack/linuxproc".to_owned()), slurm_user: Some(64_030) };
        assert_eq!(SlurmConf::read(printed), expected);
        assert_eq!(SlurmConf::read("= =(\nSlurmUser = x()"), SlurmConf::default());
    }
}
