//! The folder of all versions: one folder for each, a link to the one in use, and who is at work in it.
//!
//! ```text
//! FOLDER/current -> 2.336.0
//! FOLDER/2.336.0/…, with .gha-slurm.json: what it is, and by its own age when it was last in use
//! FOLDER/.lock, .new (being made), .old-… (being removed)
//! ```

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::release::Version;

/// Slurm jobs read `externals` of the version that they started with, on nodes that cannot be looked at from here.
const KEPT_AFTER_USE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is known of a version, in its folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marker {
    pub(super) version: String,
    pub(super) sha256: String,
    pub(super) released: Option<DateTime<Utc>>,
    /// When GitHub last said that there is no newer one.
    pub(super) newest: Option<DateTime<Utc>>,
}

impl Marker {
    pub(super) const NAME: &str = ".gha-slurm.json";

    pub(super) fn new(version: &Version, sha256: &str, released: Option<DateTime<Utc>>, newest: bool) -> Self {
        let newest = newest.then(|| time(SystemTime::now())).flatten();
        Self { version: version.to_string(), sha256: sha256.to_owned(), released, newest }
    }

    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(Self::NAME)).ok()?).ok()
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        let (new, place) = (folder.join(".gha-slurm.new"), folder.join(Self::NAME));
        fs::write(&new, serde_json::to_vec(self)?)?;
        fs::rename(new, place)
    }
}

pub(super) fn time(time: SystemTime) -> Option<DateTime<Utc>> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    DateTime::from_timestamp(since.as_secs().try_into().ok()?, 0)
}

/// The folder, for as long as nobody else changes it.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.path.join(".new"));
    }
}

impl Folder {
    /// Waits for another one at work, and removes what one left that was cut off.
    pub(super) async fn open(path: &Path) -> Result<Self, String> {
        let named = |error: std::io::Error| {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied => " (run this as the folder's owner, or name another with --to)",
                _ => "",
            };
            format!("{}: {error}{hint}", path.display())
        };
        fs::create_dir_all(path).map_err(named)?;
        let mode = fs::metadata(path).map_err(named)?.permissions().mode();
        if mode & 0o002 != 0 {
            return Err(format!("{}: everybody can write there, and would run as everybody else", path.display()));
        }
        if path.join("bin").exists() {
            return Err(format!(
                "{}: it is a runner itself; name a folder for all versions with --to, and later its `current` in job.runner",
                path.display()
            ));
        }
        match fs::symlink_metadata(path.join("current")) {
            Ok(current) if !current.is_symlink() => {
                return Err(format!(
                    "{}/current is not a link: remove it, or name another folder with --to",
                    path.display()
                ));
            }
            _ => {}
        }
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(".lock")).map_err(named)?;
        let lock = match lock.try_lock() {
            Ok(()) => lock,
            Err(TryLockError::WouldBlock) => {
                eprintln!("{}: another update is at work there; waits for it", path.display());
                let waiting = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
                waiting.map_err(|error| error.to_string())?.map_err(named)?
            }
            Err(TryLockError::Error(error)) => return Err(named(error)),
        };
        let folder = Self { path: path.to_owned(), _lock: lock };
        for name in folder.names().filter(|name| name == ".new" || name.starts_with(".old-")) {
            fs::remove_dir_all(path.join(name)).map_err(named)?;
        }
        Ok(folder)
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok())
    }

    fn error(&self, error: std::io::Error) -> String {
        format!("{}: {error}", self.path.display())
    }

    fn of(&self, version: &Version) -> PathBuf {
        self.path.join(version.to_string())
    }

    /// Whether a version is there, of the same archive.
    pub(super) fn has(&self, version: &Version, sha256: &str) -> Result<bool, String> {
        let place = self.of(version);
        if fs::symlink_metadata(&place).is_err() {
            return Ok(false);
        }
        match Marker::read(&place) {
            Some(marker) if marker.sha256 == sha256 => Ok(true),
            Some(_) => Err(format!("{} is of another archive: remove it, or name another folder", place.display())),
            None => Err(format!("{} is not this command's: remove it, or name another folder", place.display())),
        }
    }

    /// Writes anew what is known of a version that is there; a date that is not known now stays.
    pub(super) fn mark(&mut self, marker: &Marker) -> Result<(), String> {
        let place = self.path.join(&marker.version);
        let before = Marker::read(&place);
        let marker = Marker {
            version: marker.version.clone(),
            sha256: marker.sha256.clone(),
            released: marker.released.or(before.as_ref().and_then(|before| before.released)),
            newest: marker.newest.or(before.and_then(|before| before.newest)),
        };
        marker.write(&place).map_err(|error| self.error(error))
    }

    /// A place in which the next version is made, for its owner alone.
    pub(super) fn stage(&mut self) -> Result<PathBuf, String> {
        let place = self.path.join(".new");
        fs::create_dir(&place).map_err(|error| self.error(error))?;
        fs::set_permissions(&place, PermissionsExt::from_mode(0o700)).map_err(|error| self.error(error))?;
        Ok(place)
    }

    /// Gives a version that is complete its name.
    pub(super) fn keep(&mut self, unpacked: &Path, marker: &Marker) -> Result<(), String> {
        let keeping = || {
            marker.write(unpacked)?;
            // Nothing has its name before it is on the disk.
            nix::unistd::syncfs(File::open(unpacked)?)?;
            fs::rename(unpacked, self.path.join(&marker.version))
        };
        keeping().map_err(|error| self.error(error))
    }

    /// The version that the link leads to.
    fn current(&self) -> Option<Version> {
        fs::read_link(self.path.join("current")).ok()?.to_str()?.parse().ok()
    }

    /// Has the link lead to a version, and tells where it led before.
    pub(super) fn switch(&mut self, version: &Version) -> Result<Option<Version>, String> {
        let before = self.current();
        if before.as_ref() == Some(version) {
            return Ok(before);
        }
        // From now on it is not in use any more, which its marker's age tells.
        if let Some(marker) = before.as_ref().and_then(|before| Marker::read(&self.of(before))) {
            self.mark(&marker)?;
        }
        let new = self.path.join(".current");
        let switching = || {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(version.to_string(), &new)?;
            fs::rename(&new, self.path.join("current"))
        };
        switching().map_err(|error| self.error(error))?;
        Ok(before)
    }

    /// Removes versions that were not in use for long, but never the last one before the current. What cannot be removed
    /// is told, and is no reason to fail: the new one is there.
    pub(super) fn tidy(&mut self) {
        let current = self.current();
        let mut others: Vec<(SystemTime, Version)> = Vec::new();
        for version in self.names().filter_map(|name| name.parse::<Version>().ok().filter(|it| it.to_string() == name))
        {
            let used = fs::metadata(self.of(&version).join(Marker::NAME)).and_then(|marker| marker.modified());
            if let Ok(used) = used
                && Some(&version) != current.as_ref()
            {
                others.push((used, version));
            }
        }
        others.sort();
        others.pop();
        for (used, version) in others {
            if used.elapsed().is_ok_and(|since| since > KEPT_AFTER_USE) {
                // Under another name first: half a version is none.
                let old = self.path.join(format!(".old-{version}"));
                let removed = fs::rename(self.of(&version), &old).and_then(|()| fs::remove_dir_all(&old));
                match removed {
                    Ok(()) => eprintln!("{version} was not in use for a month and is removed"),
                    Err(error) => eprintln!("{version} cannot be removed: {error}"),
                }
            }
        }
    }
}
