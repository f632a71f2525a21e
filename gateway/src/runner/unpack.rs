//! Unpacking an archive into a folder that it cannot leave.
//!
//! By the system's tar, which takes nothing out of the folder: it refuses `..` in names and makes links last. What it made
//! is looked at before anybody uses it: files, folders, and links that stay within.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// A runner is some 700 MB.
const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a runner consists of at least.
const PARTS: [&str; 4] = ["bin/Runner.Listener", "config.sh", "externals", "run.sh"];

/// Unpacks into a folder that is made for it. `log` gets tar's complaints.
pub(super) async fn unpack(archive: &Path, folder: &Path, log: &Path) -> Result<(), String> {
    let named = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir(folder).map_err(named)?;
    let complaints = File::create_new(log).map_err(named)?;
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").stdin(File::open(archive).map_err(named)?).stdout(Stdio::piped());
    let mut tar = Command::new("tar");
    tar.args(["-x", "--no-same-owner", "--no-same-permissions", "-f", "-", "-C"]).arg(folder).stdin(Stdio::piped());
    tar.stdout(Stdio::null());
    for command in [&mut gzip, &mut tar] {
        let complaints = complaints.try_clone().map_err(named)?;
        command.env_clear().env("PATH", PATH).stderr(complaints).kill_on_drop(true);
    }
    let started = |error: std::io::Error| format!("tar and gzip are needed: {error}");
    let (mut gzip, mut tar) = (gzip.spawn().map_err(started)?, tar.spawn().map_err(started)?);
    let mut length = 0;
    if let (Some(from), Some(mut to)) = (gzip.stdout.take(), tar.stdin.take()) {
        // What tar does not take any more, it says itself.
        length = tokio::io::copy(&mut from.take(MAX_BYTES + 1), &mut to).await.unwrap_or_default();
        let _ = to.shutdown().await;
    }
    if length > MAX_BYTES {
        return Err("the archive holds more than a runner".to_owned());
    }
    let (gzip, tar) = (gzip.wait().await.map_err(named)?, tar.wait().await.map_err(named)?);
    if !gzip.success() || !tar.success() {
        return Err(format!("the archive cannot be unpacked: {}", first_line(log)));
    }
    look(folder, folder)?;
    match PARTS.iter().find(|part| fs::metadata(folder.join(part)).is_err()) {
        Some(missing) => Err(format!("the archive is not of a runner: {missing} is not in it")),
        None => Ok(()),
    }
}

fn first_line(log: &Path) -> String {
    let mut text = Vec::new();
    let _ = File::open(log).and_then(|file| file.take(1000).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or("no reason is told").chars().filter(|char| !char.is_control()).collect()
}

/// Looks at everything below `folder`, and lets everybody read it and only its owner write.
fn look(root: &Path, folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).map_err(failed)?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if kind.is_dir() {
            look(root, &path)?;
        } else if kind.is_file() {
            let mode = entry.metadata().map_err(failed)?.permissions().mode();
            let mode = if mode & 0o100 == 0 { 0o644 } else { 0o755 };
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).map_err(failed)?;
        } else {
            let target = fs::read_link(&path).ok();
            let within = target.is_some_and(|target| stays(root, folder, &target));
            if !within {
                let shown = path.strip_prefix(root).unwrap_or(&path).display();
                return Err(format!("the archive is not one of GitHub's: {shown:?} in it leads elsewhere"));
            }
        }
    }
    Ok(())
}

/// Whether a link in `folder` leads to something below `root`.
fn stays(root: &Path, folder: &Path, target: &Path) -> bool {
    let mut depth = folder.strip_prefix(root).map_or(0, |below| below.components().count());
    for part in target.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_below_the_folder_or_is_refused() {
        let root = Path::new("/r");
        let stays = |folder: &str, target: &str| stays(root, Path::new(folder), Path::new(target));
        assert!(stays("/r/externals/node20/bin", "../lib/node_modules/npm/bin/npm-cli.js"));
        assert!(stays("/r", "bin") && stays("/r/bin", ".."));
        for (folder, target) in
            [("/r", "/etc/passwd"), ("/r", "../x"), ("/r/bin", "a/../../../x"), ("/r/bin", "/r/bin")]
        {
            assert!(!stays(folder, target), "{folder} {target}");
        }
    }
}
