//! The server that is measured: started here, and looked at through `/proc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::bail;
use gha_slurm_simulator::github::{APP_ID, GitHub};
use url::Url;

use crate::instant::{self, Gateway};
use crate::program::{Program, free_port, set_variables};

/// What a server needs to start.
pub(crate) struct Setup<'a> {
    pub(crate) program: Option<PathBuf>,
    pub(crate) state: &'a Path,
    pub(crate) webhook_secret: &'a str,
    pub(crate) gateway: &'a Gateway,
    pub(crate) github: &'a GitHub,
    pub(crate) flags: &'a [String],
}

/// A server's process.
pub(crate) struct Process {
    id: u32,
    /// Absent when it was not started here.
    _program: Option<Program>,
    /// How long its start took, when it was started here.
    pub(crate) started: Option<Duration>,
}

/// In `/proc/PID/stat`, a hundredth of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);

impl Process {
    pub(crate) fn of(id: u32) -> Self {
        Self { id, _program: None, started: None }
    }

    /// CPU time that it has used.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).ok()?;
        // The name, in parentheses, may have blanks; utime and stime are the 14th and 15th field.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum::<u32>();
        Some(TICK * ticks)
    }

    /// Resident memory now, in MiB.
    pub(crate) fn memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
    }
}

/// Starts `gha-slurm up` with the application and the component that only answers.
pub(crate) fn start(setup: &Setup<'_>) -> anyhow::Result<(Url, Process)> {
    let program = match &setup.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("gha-slurm"),
    };
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let manifest = manifest(root, setup.state)?;
    let port = free_port()?;
    let url = Url::parse(&format!("http://127.0.0.1:{port}"))?;
    let mut command = Command::new(&program);
    command.arg("up").arg("--from").arg(manifest).arg("--listen").arg(format!("127.0.0.1:{port}"));
    command.arg("--state-dir").arg(setup.state).args(["--quiet"]).args(setup.flags);
    let variables = [
        ("GITHUB_APP_ID", APP_ID),
        ("GITHUB_PRIVATE_KEY", &setup.github.private_key().unwrap_or_default()),
        ("GITHUB_WEBHOOK_SECRET", setup.webhook_secret),
        ("GITHUB_API_URL", &setup.github.url()),
        // As with the original: one token serves all launches for an hour.
        ("REGISTRATION_TOKENS", "allow"),
        ("GATEWAY_URL", &setup.gateway.url()),
        ("GATEWAY_SECRET", instant::SECRET),
        ("PUBLIC_URL", url.as_str()),
    ];
    set_variables(&mut command, &variables);
    let begun = std::time::Instant::now();
    let (program, _) = Program::listening(&mut command)?;
    Ok((url, Process { id: program.0.id(), _program: Some(program), started: Some(begun.elapsed()) }))
}

/// The application's manifest and one more route; sources by their whole paths, because it stands elsewhere.
fn manifest(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let wasm = root.canonicalize()?.join("target/wasm32-wasip1/wasm");
    let floor = wasm.join("test_floor.wasm");
    if !floor.exists() {
        let command = "cargo build --target wasm32-wasip1 --profile wasm -p gha-slurm-test-floor --target-dir target";
        bail!("{} is not there: {command}", floor.display());
    }
    let text =
        fs::read_to_string(root.join("spin.toml"))?.replace("target/wasm32-wasip1/wasm", &wasm.to_string_lossy());
    let route = "[[trigger.http]]\nroute = \"/floor\"\ncomponent = \"floor\"\n";
    let component = format!("[component.floor]\nsource = {:?}\n", floor.to_string_lossy());
    fs::create_dir_all(folder)?;
    let path = folder.join("spin.toml");
    fs::write(&path, format!("{text}\n{route}\n{component}"))?;
    Ok(path)
}
