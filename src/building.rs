//! Building an application's components by the commands in its manifest, as `spin build` does.

use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::host::manifest::{Build, Manifest, ManifestError};
use crate::slimming::slim_file;

const TARGET: &str = "wasm32-wasip1";

/// Why a component is not built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The manifest is not right.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A command could not be started.
    #[error("cannot run {program}: {why}; {way_out}")]
    Start {
        /// What was to be run.
        program: String,
        /// The reason.
        why: std::io::Error,
        /// What to do about it.
        way_out: &'static str,
    },
    /// A command failed; it said why on stderr.
    #[error("{command} failed")]
    Failed {
        /// The command.
        command: String,
    },
}

/// Builds every component that has a build command, and slims what came of it. Adds the Wasm target before, when it is
/// missing. What is done is told to `progress`; the commands' own output goes to stderr.
pub fn build(manifest: &Path, progress: &dyn Fn(&str)) -> Result<(), BuildError> {
    let home = manifest.parent().unwrap_or(Path::new("."));
    for (id, component) in Manifest::read(manifest)?.component {
        let Some(Build { command, workdir, .. }) = component.build else { continue };
        if command.contains(TARGET) {
            add_target(progress)?;
        }
        progress(&format!("building {id}: {command}"));
        let mut shell = Command::new("sh");
        let folder = workdir.map_or_else(|| home.to_path_buf(), |workdir| home.join(workdir));
        // An empty path is the current folder.
        let folder = if folder.as_os_str().is_empty() { Path::new(".").to_path_buf() } else { folder };
        run(shell.arg("-c").arg(&command).current_dir(folder), &command, "a POSIX shell is needed")?;
        let source = home.join(component.source);
        if let Err(error) = slim_file(&source) {
            progress(&format!("{} stays as large as it is: {error:#}", source.display()));
        }
    }
    Ok(())
}

/// Installs the Wasm target, where it is missing.
pub fn add_target(progress: &dyn Fn(&str)) -> Result<(), BuildError> {
    let way_out = "Rust is needed: see https://rustup.rs";
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|why| BuildError::Start { program: "rustc".to_owned(), why, way_out })?;
    let present = String::from_utf8(libraries.stdout).is_ok_and(|path| Path::new(path.trim()).exists());
    if present {
        return Ok(());
    }
    let command = format!("rustup target add {TARGET}");
    progress(&format!("{command} (once, it takes a minute or two)"));
    run(Command::new("rustup").args(["target", "add", TARGET]), &command, way_out)
}

fn run(command: &mut Command, shown: &str, way_out: &'static str) -> Result<(), BuildError> {
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .map_err(|why| BuildError::Start { program: shown.to_owned(), why, way_out })?;
    if status.success() { Ok(()) } else { Err(BuildError::Failed { command: shown.to_owned() }) }
}
