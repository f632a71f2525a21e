//! A cluster whose Slurm is a folder, and gateways that fetch for it, in this process or in their own.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gha_slurm_gateway::config::Config;
use gha_slurm_gateway::fetching::{Fetcher, Timing};
use gha_slurm_gateway::service::Service;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::app::{App, ONE, SECRET};

/// Slurm's commands as scripts, over a folder with one folder a Slurm job, which may have a `line` for squeue to print. Files beside it change what they do: `away`,
/// `refuses`, `loses` (an answer, once), `slow` (seconds before a submission), `sticks` (after one).
const SBATCH: &str = r#"
[ -e "$D/away" ] && { echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller" >&2; exit 1; }
[ -e "$D/refuses" ] && { echo "sbatch: error: Batch job submission failed: Invalid qos specification" >&2; exit 1; }
for word; do case $word in --job-name=*) name=${word#--job-name=} ;; esac; done
cat >/dev/null
[ -e "$D/slow" ] && sleep "$(cat "$D/slow")"
id=1
until mkdir "$D/jobs/$id" 2>/dev/null; do id=$((id + 1)); done
echo PENDING >"$D/jobs/$id/state"
date +%s >"$D/jobs/$id/submitted"
echo "$name" >"$D/jobs/$id/name"
rm "$D/loses" 2>/dev/null && { echo "sbatch: error: Zero Bytes were transmitted or received" >&2; exit 1; }
[ -e "$D/sticks" ] && sleep 600
echo "$id"
"#;
const SQUEUE: &str = r#"
[ -e "$D/away" ] && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }
echo x >>"$D/asked"
for word; do case $word in
--name=*) names=",${word#--name=}," ;;
--jobs=*) ids=",${word#--jobs=}," ;;
--format=*) format=${word#--format=} ;;
esac; done
for job in "$D"/jobs/*; do
    [ -e "$job/name" ] || continue
    id=${job##*/} name=$(cat "$job/name") state=$(cat "$job/state") start=N/A
    [ -e "$job/start" ] && start=$(cat "$job/start")
    [ -n "$names" ] && case $names in *",$name,"*) ;; *) continue ;; esac
    [ -n "$ids" ] && case $ids in *",$id,"*) ;; *) continue ;; esac
    case $format in
    %A) echo "$id" ;;
    *)
        if [ -e "$job/line" ]; then
            cat "$job/line"
        else
            echo "$id|$(cat "$job/submitted")|0|$state|$start|gha|Priority"
        fi
        ;;
    esac
done
"#;
const SCANCEL: &str = r#"
[ -e "$D/away" ] && { echo "scancel: error: Unable to contact slurm controller" >&2; exit 1; }
for word; do id=$word; done
echo CANCELLED >"$D/cancelled"
mv "$D/cancelled" "$D/jobs/$id/state"
"#;

pub(crate) struct Slurm(PathBuf);

impl Slurm {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("jobs")).unwrap();
        let scripts =
            [("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", SCANCEL), ("scontrol", "echo 'PrivateData = none'\n")];
        for (name, script) in scripts {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\nD={}\n{script}", folder.display())).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        Self(folder.to_owned())
    }

    /// Changes what Slurm does.
    pub(crate) fn is(&self, how: &str, text: &str) {
        std::fs::write(self.0.join(how), text).unwrap();
    }

    pub(crate) fn is_no_longer(&self, how: &str) {
        std::fs::remove_file(self.0.join(how)).unwrap();
    }

    /// The ids of the Slurm jobs of that launch.
    pub(crate) fn jobs_of(&self, launch: &str) -> Vec<String> {
        let name = format!("gha-slurm-{launch}");
        let named = |path: &PathBuf| std::fs::read_to_string(path.join("name")).is_ok_and(|text| text.trim() == name);
        let folders = std::fs::read_dir(self.0.join("jobs")).unwrap().map(|entry| entry.unwrap().path());
        folders.filter(named).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        std::fs::read_dir(self.0.join("jobs")).unwrap().count()
    }

    pub(crate) fn set(&self, job: &str, what: &str, text: &str) {
        // At once, for whoever reads it meanwhile.
        let (folder, new) = (self.0.join("jobs").join(job), self.0.join("new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.join(what)).unwrap();
    }

    pub(crate) fn state(&self, job: &str) -> String {
        std::fs::read_to_string(self.0.join("jobs").join(job).join("state")).unwrap().trim().to_owned()
    }
}

/// Everything around one cluster.
pub(crate) struct Site {
    pub(crate) app: App,
    pub(crate) slurm: Slurm,
    pub(crate) folder: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app-secret"), format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(folder.path().join("app-secret"), PermissionsExt::from_mode(0o600)).unwrap();
        let slurm = Slurm::new(&folder.path().join("slurm"));
        Self { app: App::start().await, slurm, folder }
    }

    /// The configuration of a gateway of that name, which has an index of its own.
    pub(crate) fn yaml(&self, name: &str, app: &str, more: &str) -> PathBuf {
        let at = self.folder.path().display();
        let text = format!(
            "app: {{cluster: alps, secretFile: app-secret, {app}}}\nstateDirectory: {at}/{name}\n\
             auditLog: {at}/audit-{name}\njob: {{runner: {at}/runner}}\nscontrol: [{at}/slurm/scontrol]\n\
             slurmUsers: {{daemon: {{repositories: ['https://github.com/{ONE}']}}}}\nbackend: sbatch\n\
             sbatch: {{sbatch: [{at}/slurm/sbatch], squeue: [{at}/slurm/squeue], scancel: [{at}/slurm/scancel]}}\n{more}\n"
        );
        let path = self.folder.path().join(format!("{name}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A gateway in this process, quick.
    pub(crate) fn gateway(&self, name: &str, app: &str) -> Running {
        self.gateway_by(name, app, quick())
    }

    pub(crate) fn gateway_by(&self, name: &str, app: &str, timing: Timing) -> Running {
        let path = self.yaml(name, &format!("url: '{}'{app}", self.app.url()), "");
        let config = Config::load(&path, &|_| None).unwrap();
        let service = Arc::new(Service::open(config, path).unwrap());
        let fetcher = Fetcher::new(&service, timing).unwrap().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(fetcher.run(async { drop(stopped.await) }));
        Running { service, stop: Some(stop), task }
    }

    pub(crate) fn audit(&self, name: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.folder.path().join(format!("audit-{name}"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn submitted(&self, launch: &str) {
        self.until(&format!("{launch} is submitted"), || self.app.submitted(launch)).await;
    }

    /// Waits for something that comes soon.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..400 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("not within 10 s: {what}; {:#?}", self.app.book.lock().unwrap());
    }

    /// For as long as several exchanges take.
    pub(crate) async fn exchanges(&self, count: u32) {
        let before = self.app.with(|book| book.exchanges);
        self.until("exchanges", || self.app.with(|book| book.exchanges) >= before + count).await;
    }
}

/// Everything happens at once.
pub(crate) fn quick() -> Timing {
    Timing {
        poll: Some(Duration::from_millis(40)),
        retry: Duration::from_millis(40),
        longest_retry: Duration::from_millis(80),
        watch: Duration::from_millis(150),
        attempt_again: Duration::from_millis(100),
        longest_attempt_again: Duration::from_millis(200),
        queue: Duration::from_millis(100),
        ..Timing::default()
    }
}

/// A gateway that runs.
pub(crate) struct Running {
    pub(crate) service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// As by SIGTERM.
    pub(crate) async fn stops(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(30), &mut self.task).await.unwrap().unwrap();
    }

    /// As by SIGKILL: whatever it was about to do.
    pub(crate) async fn dies(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}
