//! How long a queued job takes until `sbatch` is called, by the way of each of the two connections: webhooks that are received
//! or read, launches that are pushed or fetched. App and gateway are the shipped programs; Slurm is a script that notes the
//! time. The first way, received and pushed, is the baseline of the others.

mod program;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::Parser;
use gha_slurm_simulator::event::Events;
use gha_slurm_simulator::github::{APP_ID, Caller, GitHub};

use crate::program::{Program, free_port, set_variables};

/// Measures how long jobs take to Slurm, and what that costs in calls to GitHub.
#[derive(Parser)]
struct Arguments {
    /// Jobs for each way, one at a time, one to three seconds apart.
    #[arg(long, default_value_t = 40)]
    jobs: u32,
    /// Seconds without a job whose calls to GitHub are counted.
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// From one reading of GitHub's list of deliveries to the next, in seconds [default: the app's].
    #[arg(long)]
    poll_seconds: Option<u64>,
    /// Where the programs are [default: beside this one].
    #[arg(long)]
    programs: Option<PathBuf>,
}

const REPOSITORY: &str = "octo-org/bench";
const WEBHOOK_SECRET: &str = "a webhook secret for benchmarks";
const GATEWAY_SECRET: &str = "a-gateway-secret-for-benchmarks-1";
const CLUSTER_SECRET: &str = "a-cluster-secret-for-benchmarks-1";
/// Of [`CLUSTER_SECRET`].
const CLUSTER_SECRET_SHA256: &str = "c6cbbd31b91941f91be72deea5f07ebcdf3acd1a44d561530873c7489a707d2b";
/// By when a job must be in Slurm.
const DEADLINE: Duration = Duration::from_secs(30);

/// One way for each of the two connections.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    read: bool,
    fetched: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "received, pushed", read: false, fetched: false },
    Way { name: "received, fetched", read: false, fetched: true },
    Way { name: "read, pushed", read: true, fetched: false },
    Way { name: "read, fetched", read: true, fetched: true },
];

struct Measured {
    /// From when GitHub queued a job until `sbatch` was called, the shortest first.
    waits: Vec<Duration>,
    /// Calls that GitHub counts against the App's limit: for each job, and for an hour without one.
    calls_per_job: f64,
    calls_per_idle_hour: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{} jobs for each way, load average before: {}\n", arguments.jobs, load.trim());
    println!(
        "| webhooks, launches | median s | 95 % within s | median of the first's | calls per job | calls per idle hour |"
    );
    println!("|---|---|---|---|---|---|");
    let mut baseline = None;
    for way in WAYS {
        eprintln!("{}: takes about {} s", way.name, u64::from(arguments.jobs) * 2 + arguments.idle + 5);
        let measured = measure(way, &arguments).await.with_context(|| way.name)?;
        let quantile = |share: usize| {
            let at = (measured.waits.len() * share / 100).min(measured.waits.len().saturating_sub(1));
            measured.waits.get(at).copied().unwrap_or_default().as_secs_f64()
        };
        let median = quantile(50);
        let of = median / *baseline.get_or_insert(median);
        println!(
            "| {} | {median:.2} | {:.2} | {of:.1} | {:.1} | {:.0} |",
            way.name,
            quantile(95),
            measured.calls_per_job,
            measured.calls_per_idle_hour
        );
    }
    Ok(())
}

async fn measure(way: Way, arguments: &Arguments) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir()?;
    let github = GitHub::start(&[REPOSITORY], WEBHOOK_SECRET, Events::default()).await?;
    let programs = match &arguments.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.with_file_name(""),
    };
    let app_url = format!("http://127.0.0.1:{}", free_port()?);
    let slurm = Slurm::new(folder.path())?;
    // The side that is called starts first.
    let (_gateway, gateway_url) = start_gateway(way, &programs, folder.path(), &app_url, &slurm)?;
    let _app = start_app(way, arguments, &programs, folder.path(), &app_url, gateway_url.as_deref(), &github)?;
    let hook =
        if way.read { "https://gha-slurm.invalid/".to_owned() } else { format!("{app_url}/api/github/webhooks") };
    github.set_webhook_url(&hook);
    // The first calls, such as for the first token of the installation, are made once.
    one_job(&github, &slurm).await?;

    let before = github.counted_calls(Caller::App);
    let mut waits = Vec::new();
    for number in 0..arguments.jobs {
        waits.push(one_job(&github, &slurm).await?);
        // At no fixed distance, so that no interval is met at the same point each time.
        tokio::time::sleep(Duration::from_millis(1000 + u64::from(number) * 731 % 2000)).await;
    }
    let calls = github.counted_calls(Caller::App) - before;
    let before = github.counted_calls(Caller::App);
    tokio::time::sleep(Duration::from_secs(arguments.idle)).await;
    let idle = github.counted_calls(Caller::App) - before;
    waits.sort_unstable();
    Ok(Measured {
        waits,
        calls_per_job: calls as f64 / f64::from(arguments.jobs.max(1)),
        calls_per_idle_hour: idle as f64 * 3600.0 / arguments.idle.max(1) as f64,
    })
}

/// Queues a job and waits until it is in Slurm; how long that took.
async fn one_job(github: &GitHub, slurm: &Slurm) -> anyhow::Result<Duration> {
    let queued = SystemTime::now();
    let (job, _) = github.queue_job(REPOSITORY, &["self-hosted", "slurm"]).await;
    while queued.elapsed()? < DEADLINE {
        if let Some(at) = slurm.submitted_at(job)? {
            return Ok(at.duration_since(queued)?);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("job {job} is not in Slurm after {} s", DEADLINE.as_secs())
}

/// Commands that submit nothing: `sbatch` notes when it was called, and for which launch.
struct Slurm(PathBuf);

impl Slurm {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("slurm");
        fs::create_dir_all(&folder)?;
        let here = folder.display();
        let sbatch = format!(
            "now=$(date +%s.%N)\nfor word; do case $word in --job-name=*) name=${{word#*=}} ;; esac; done\ncat >/dev/null\n\
             echo \"$now $name\" >>{here}/jobs\nwc -l <{here}/jobs"
        );
        for (name, script) in [("sbatch", sbatch.as_str()), ("squeue", ""), ("scancel", "")] {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/bash\n{script}\n"))?;
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        }
        Ok(Self(folder))
    }

    fn submitted_at(&self, job: u64) -> anyhow::Result<Option<SystemTime>> {
        let jobs = fs::read_to_string(self.0.join("jobs")).unwrap_or_default();
        let name = format!("gha-slurm-{job}-1");
        let line = jobs.lines().find_map(|line| line.split_once(' ').filter(|(_, of)| *of == name));
        let Some((seconds, _)) = line else { return Ok(None) };
        Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds.parse()?)))
    }
}

fn start_gateway(
    way: Way,
    programs: &Path,
    folder: &Path,
    app_url: &str,
    slurm: &Slurm,
) -> anyhow::Result<(Program, Option<String>)> {
    let (here, at) = (folder.display(), slurm.0.display());
    let mut yaml = format!(
        "stateDirectory: {here}/gateway\nbackend: sbatch\n\
         sbatch: {{sbatch: [{at}/sbatch], squeue: [{at}/squeue], scancel: [{at}/scancel]}}\n\
         job: {{runner: {here}/runner}}\n\
         repositories: [{{gitHubURL: 'https://github.com/{REPOSITORY}', slurmUser: daemon}}]\n"
    );
    if way.fetched {
        let secret = folder.join("app-secret");
        fs::write(&secret, CLUSTER_SECRET)?;
        fs::set_permissions(&secret, PermissionsExt::from_mode(0o600))?;
        writeln!(yaml, "app: {{url: '{app_url}', cluster: bench, secretFile: app-secret}}")?;
    } else {
        writeln!(yaml, "listen: 127.0.0.1:0\nghaSharedSecret: {GATEWAY_SECRET}")?;
    }
    let config = folder.join("gateway.yaml");
    fs::write(&config, yaml)?;
    let mut command = Command::new(programs.join("gha-slurm-gateway"));
    let log = fs::File::create(folder.join("gateway.log"))?;
    command.arg("--config").arg(config).stderr(log);
    if way.fetched {
        return Ok((Program::start(&mut command)?, None));
    }
    let (program, address) = Program::listening(&mut command)?;
    Ok((program, Some(format!("http://{address}"))))
}

fn start_app(
    way: Way,
    arguments: &Arguments,
    programs: &Path,
    folder: &Path,
    app_url: &str,
    gateway_url: Option<&str>,
    github: &GitHub,
) -> anyhow::Result<Program> {
    let manifest = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../spin.toml"));
    let mut command = Command::new(programs.join("gha-slurm"));
    command.arg("up").arg("--from").arg(manifest).arg("--listen").arg(app_url.trim_start_matches("http://"));
    command.arg("--state-dir").arg(folder.join("app")).arg("--quiet");
    command.stderr(fs::File::create(folder.join("app.log"))?);
    let clusters =
        format!("[[cluster]]\nname = \"bench\"\nreach = \"fetch\"\nsecret_sha256 = \"{CLUSTER_SECRET_SHA256}\"\n");
    let poll_seconds = arguments.poll_seconds.map(|seconds| seconds.to_string());
    let variables = [
        ("GITHUB_APP_ID", APP_ID),
        ("GITHUB_PRIVATE_KEY", &github.private_key().unwrap_or_default()),
        ("GITHUB_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ("GITHUB_API_URL", &github.url()),
        ("GATEWAY_URL", gateway_url.unwrap_or_default()),
        ("GATEWAY_SECRET", if way.fetched { "" } else { GATEWAY_SECRET }),
        ("CLUSTERS", if way.fetched { &clusters } else { "" }),
        ("WEBHOOKS", if way.read { "poll" } else { "receive" }),
        ("POLL_SECONDS", poll_seconds.as_deref().unwrap_or_default()),
        ("ADMIN_TOKEN", "an-admin-token-for-benchmarks-1"),
        ("PUBLIC_URL", app_url),
    ];
    set_variables(&mut command, &variables);
    Ok(Program::listening(&mut command)?.0)
}
