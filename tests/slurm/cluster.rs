//! The cluster of the tests that need a real Slurm.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::optional::Need;

/// A Slurm of two nodes, started for one test by `cluster.sh` and gone with it.
pub(crate) struct Cluster {
    pub(crate) folder: PathBuf,
    /// slurmrestd's URL.
    pub(crate) rest: String,
}

impl Cluster {
    pub(crate) fn script(&self, words: &[&str]) -> Output {
        // The package is the workspace's root or a folder in it.
        let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
        let script =
            folders.map(|folder| folder.join("tests/slurm/cluster.sh")).find(|script| script.exists()).unwrap();
        let (first, rest) = words.split_first().unwrap();
        Command::new(script).arg(first).arg(&self.folder).args(rest).output().unwrap()
    }

    /// A Slurm to start, and root to start it.
    pub(crate) fn need() -> Need {
        Need::program("slurmctld", "-V", "GHA_SLURM_REQUIRE_SLURM").with_root()
    }

    pub(crate) fn up() -> Self {
        let folder = Path::new("/tmp").join(format!("gha-slurm-cluster-{}", std::process::id()));
        let mut cluster = Self { folder, rest: String::new() };
        let output = cluster.script(&["up"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        cluster.rest = printed.lines().find_map(|line| line.strip_prefix("SLURMRESTD_URL=")).unwrap().to_owned();
        cluster
    }

    /// Runs a command as a user of the cluster; what it printed.
    pub(crate) fn run(&self, user: &str, words: &[&str]) -> String {
        let mut command = Command::new("runuser");
        command.args(["-u", user, "--"]).args(words).env("SLURM_CONF", self.folder.join("slurm.conf")).current_dir("/");
        let output = command.output().unwrap();
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    }

    pub(crate) fn job(&self, id: &str) -> String {
        self.run("root", &["scontrol", "show", "job", id])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.run("root", &["scontrol", "show", "jobs"]));
        }
        self.script(&["down"]);
    }
}
