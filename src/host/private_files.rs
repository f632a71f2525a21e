//! Files that only their owner may read: the store, with the keys and tokens in it, and those with variables.
//!
//! What this program makes is private from its first moment. What was there before, as where Spin made it, is made private
//! when it belongs to this process's user, with a line in the log; a store that belongs to somebody else and that others
//! can read is not used.

use std::fs::{self, DirBuilder, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
/// Set on a folder such as /tmp: nobody may remove or rename what is another's.
const STICKY: u32 = 0o1000;

/// A file or folder that others than its owner can read, or write to.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{} can be read by other users of this machine (mode {mode:04o})", path.display())]
pub struct ReadableByOthers {
    /// The file.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// A file that has to be private cannot be made so.
#[derive(Debug, Error)]
pub enum PrivacyError {
    /// It is another user's.
    #[error("{0}, and it belongs to another user: let its owner run `chmod go=` on it, or name another folder")]
    Foreign(ReadableByOthers),
    /// Its permissions cannot be read or changed.
    #[error("{}: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: io::Error,
    },
}

/// Makes a folder with those above it, for its owner alone; one that is there stays as it is.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes an empty file for its owner alone; one that is there stays as it is.
pub fn make(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file is there that others can read.
pub fn readable_by_others(file: &Path) -> Option<ReadableByOthers> {
    let mode = fs::metadata(file).ok()?.mode() & 0o7777;
    (mode & OTHERS != 0).then(|| ReadableByOthers { path: file.to_path_buf(), mode })
}

/// Makes the files in `folder` private, as far as they are there, and keeps others from replacing them.
pub fn secure(folder: &Path, files: &[PathBuf]) -> Result<(), PrivacyError> {
    // A device in their place, such as /dev/null, is everybody's.
    if let Some((metadata, mode)) = look(folder)?
        && metadata.is_dir()
        && mode & OTHERS_WRITE != 0
        && mode & STICKY == 0
    {
        change(folder, &metadata, mode & !OTHERS_WRITE)?;
    }
    for file in files {
        if let Some((metadata, mode)) = look(file)?
            && metadata.is_file()
            && mode & OTHERS != 0
        {
            change(file, &metadata, mode & !OTHERS)?;
        }
    }
    Ok(())
}

fn look(path: &Path) -> Result<Option<(Metadata, u32)>, PrivacyError> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.mode() & 0o7777;
            Ok(Some((metadata, mode)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(PrivacyError::Failed { path: path.to_path_buf(), why }),
    }
}

fn change(path: &Path, metadata: &Metadata, mode: u32) -> Result<(), PrivacyError> {
    let failed = |why| PrivacyError::Failed { path: path.to_path_buf(), why };
    let before = metadata.mode() & 0o7777;
    if metadata.uid() != own_user().map_err(failed)? {
        return Err(PrivacyError::Foreign(ReadableByOthers { path: path.to_path_buf(), mode: before }));
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    tracing::warn!("{} had the mode {before:04o}, open to other users of this machine: now {mode:04o}", path.display());
    Ok(())
}

/// What this process makes belongs to its user; there is no safer way to ask without unsafe code.
pub(super) fn own_user() -> io::Result<u32> {
    fs::metadata("/proc/self").map(|own| own.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_made_is_private_and_what_was_there_becomes_so() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        let (new, old, none) = (folder.join("new"), folder.join("old"), folder.join("none"));
        make_folder(&folder).unwrap();
        make(&new).unwrap();
        assert_eq!((mode(&folder), mode(&new)), (0o700, 0o600));
        fs::write(&old, "kept").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o775)).unwrap();
        make(&old).unwrap();
        assert_eq!(readable_by_others(&old).unwrap().mode, 0o644);
        secure(&folder, &[new.clone(), old.clone(), none.clone()]).unwrap();
        assert_eq!((mode(&folder), mode(&new), mode(&old)), (0o755, 0o600, 0o600));
        assert_eq!(readable_by_others(&old), None);
        assert_eq!((fs::read_to_string(&old).unwrap().as_str(), none.exists()), ("kept", false));
    }

    #[test]
    fn what_is_neither_a_folder_nor_a_file_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        let odd = outer.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&odd).unwrap();
        fs::set_permissions(&odd, Permissions::from_mode(0o666)).unwrap();
        secure(&odd, std::slice::from_ref(&odd)).unwrap();
        assert_eq!(mode(&odd), 0o666);
    }

    #[test]
    fn what_is_another_users_is_refused() {
        // Root owns it, and who runs this test as root cannot make a file that is another's without help.
        let file = Path::new("/etc/passwd");
        let metadata = fs::metadata(file).unwrap();
        if metadata.uid() == own_user().unwrap() {
            return;
        }
        assert!(matches!(change(file, &metadata, 0o600), Err(PrivacyError::Foreign(_))));
    }
}
