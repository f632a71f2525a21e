//! Compiled code, kept from one start to the next.
//!
//! Compiled code is machine code: who can write it into the folder runs what he likes in this process. So a folder or a
//! file that anybody but its owner, this process's user, may write to is not used at all. Within it a file is found by a
//! digest of the `.wasm`, of this program's version and of all that decides how the engine compiles, so code of another
//! version or for other settings is never found; and it is loaded only if it is, byte for byte, what was written. What was
//! not loaded for a month goes when something new is kept.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::private_files;

/// A folder of compiled components.
#[derive(Debug, Clone)]
pub struct Precompiled(PathBuf);

impl Precompiled {
    /// Makes the folder, for its owner alone, or says why it is not to be trusted.
    pub fn open(folder: PathBuf) -> Result<Self, String> {
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        private_files::make_folder(&folder).map_err(failed)?;
        private(&fs::metadata(&folder).map_err(failed)?).map_err(|why| format!("{} {why}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The user's own place for such things; `None` where there is none.
    pub fn default_folder() -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")))?;
        Some(base.join("gha-slurm"))
    }

    /// The component that `wasm` was compiled to, if it was by this version.
    pub(super) fn get(&self, engine: &Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(engine, wasm);
        let code = match read(&path) {
            Ok(code) => code?,
            Err(why) => {
                tracing::warn!("{} is compiled anew: {why}", path.display());
                return None;
            }
        };
        // SAFETY: the bytes are those that `keep` wrote for this engine's settings: the folder and the file are this
        // user's alone, the name holds what decides how the engine compiles, and the digest has just been checked.
        #[allow(unsafe_code)]
        let loaded = unsafe { Component::deserialize(engine, code) };
        let loaded =
            loaded.inspect_err(|error| tracing::warn!("{} is compiled anew: {error:#}", path.display())).ok()?;
        // The day of its last use. Where that cannot be written it is only compiled anew once more than it had to be.
        let _ = OpenOptions::new().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(loaded)
    }

    /// Keeps what `wasm` was compiled to. Written beside and renamed, so that nobody reads half of it.
    pub(super) fn keep(&self, engine: &Engine, wasm: &[u8], component: &Component) -> wasmtime::Result<()> {
        let path = self.path(engine, wasm);
        let code = component.serialize()?;
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        let written = file.write_all(&Sha256::digest(&code)).and_then(|()| file.write_all(&code));
        if let Err(error) = written.and_then(|()| fs::rename(&beside, &path)) {
            let _ = fs::remove_file(&beside);
            return Err(error.into());
        }
        self.forget_unused();
        Ok(())
    }

    /// Removes what earlier versions, other settings and broken-off writes left.
    fn forget_unused(&self) {
        let unused = |file: &fs::DirEntry| {
            let age = file.metadata().and_then(|file| file.modified()).map(|used| used.elapsed().unwrap_or_default());
            let ours = file.path().extension().is_some_and(|extension| extension == COMPILED || extension == "tmp");
            ours && age.is_ok_and(|age| age > UNUSED)
        };
        for file in fs::read_dir(&self.0).into_iter().flatten().filter_map(Result::ok).filter(unused) {
            // Another process may have removed it.
            let _ = fs::remove_file(file.path());
        }
    }

    fn path(&self, engine: &Engine, wasm: &[u8]) -> PathBuf {
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        let mut digest = Sha256::new();
        digest.update(env!("CARGO_PKG_VERSION"));
        digest.update(settings.finish().to_le_bytes());
        digest.update(wasm);
        let name: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(format!("{name}.{COMPILED}"))
    }
}

const COMPILED: &str = "compiled";
const DIGEST_BYTES: usize = 32;
/// How long compiled code is kept that nobody loads.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The code in a file; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    private(&file.metadata().map_err(|error| error.to_string())?)?;
    let mut digest = [0; DIGEST_BYTES];
    let mut code = Vec::new();
    let read = io::Read::read_exact(&mut file, &mut digest).and_then(|()| io::Read::read_to_end(&mut file, &mut code));
    read.map_err(|error| error.to_string())?;
    if Sha256::digest(&code).as_slice() != digest {
        return Err("it is not what was written".to_owned());
    }
    Ok(Some(code))
}

/// Whether something belongs to this process's user, and only he may write to it.
fn private(metadata: &fs::Metadata) -> Result<(), String> {
    let own = private_files::own_user().map_err(|error| error.to_string())?;
    if metadata.uid() != own {
        return Err("belongs to another user".to_owned());
    }
    if metadata.mode() & 0o022 != 0 {
        return Err("may be written to by others than its owner".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn kept(folder: &Path) -> (Precompiled, Engine, PathBuf) {
        let precompiled = Precompiled::open(folder.join("compiled")).unwrap();
        let engine = Engine::default();
        assert!(precompiled.get(&engine, EMPTY).is_none());
        precompiled.keep(&engine, EMPTY, &Component::new(&engine, EMPTY).unwrap()).unwrap();
        let path = precompiled.path(&engine, EMPTY);
        (precompiled, engine, path)
    }

    #[test]
    fn what_was_kept_is_found_by_the_same_engine_for_the_same_wasm_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (precompiled, engine, _) = kept(folder.path());
        assert!(precompiled.get(&engine, EMPTY).is_some());
        assert!(precompiled.get(&engine, b"another").is_none());
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        assert!(precompiled.get(&other, EMPTY).is_none());
    }

    #[test]
    fn what_was_changed_cut_or_opened_to_others_is_not_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let (precompiled, engine, path) = kept(folder.path());
        let good = fs::read(&path).unwrap();
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        for bad in [&changed[..], &good[..good.len() - 1], &good[..10], b""] {
            fs::write(&path, bad).unwrap();
            assert!(precompiled.get(&engine, EMPTY).is_none());
        }
        fs::write(&path, &good).unwrap();
        assert!(precompiled.get(&engine, EMPTY).is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(precompiled.get(&engine, EMPTY).is_none());
    }

    #[test]
    fn what_nobody_loaded_for_a_month_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (precompiled, engine, used) = kept(folder.path());
        let month_old = |path: &Path| {
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
            file.set_modified(SystemTime::now() - UNUSED - Duration::from_secs(60)).unwrap();
        };
        let unused = ["old.compiled", "old.1.tmp", "notes.txt"].map(|name| precompiled.0.join(name));
        unused.iter().for_each(|path| month_old(path));
        month_old(&used);
        assert!(precompiled.get(&engine, EMPTY).is_some());
        let other = Engine::new(wasmtime::Config::new().epoch_interruption(true)).unwrap();
        precompiled.keep(&other, EMPTY, &Component::new(&other, EMPTY).unwrap()).unwrap();
        assert!(used.exists(), "it was loaded just now");
        assert_eq!(unused.map(|path| path.exists()), [false, false, true], "what is not ours stays");
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Precompiled::open(folder.path().to_path_buf()).unwrap_err();
        assert!(error.contains("others"), "{error}");
    }
}
