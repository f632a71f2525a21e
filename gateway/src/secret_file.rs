//! Making a cluster's secret: `gha-slurm-gateway secret FILE`.
//!
//! The app is told no more than its digest, so that what leaks there lets nobody be the gateway.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use gha_slurm_protocol::hex::hex;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};

/// A secret that was written to a file.
pub(crate) struct Made {
    digest: String,
    file: String,
    /// Whether it is root's alone, as which no gateway has to run.
    roots: bool,
}

/// Writes a new secret to a file that does not exist yet, for its owner alone to read.
pub(crate) fn make(path: &Path) -> io::Result<Made> {
    let mut bytes = [0; 32];
    getrandom::getrandom(&mut bytes)?;
    let secret = hex(bytes);
    // Neither over another file nor through a link.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(format!("{secret}\n").as_bytes())?;
    file.sync_all()?;
    let digest = hex(Sha256::digest(&secret));
    Ok(Made { digest, file: path.display().to_string(), roots: geteuid().is_root() })
}

/// TOML as it is pasted into the app's variable; what is said to people stands in comments.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, file, roots } = self;
        writeln!(f, "# The secret is in {file}. Name it in the gateway's configuration, beside the app's public URL:")?;
        writeln!(f, "#   app: {{url: https://gha-slurm.example.org, cluster: alps, secretFile: {file}}}")?;
        if *roots {
            writeln!(
                f,
                "# It is for root alone to read. If the gateway runs as another user, let that one's group read it:"
            )?;
            writeln!(f, "#   chgrp gha-slurm-gateway {file} && chmod 0640 {file}")?;
        }
        writeln!(f, "# Add this to the app's variable `clusters`, under the same name:")?;
        writeln!(f, "[[cluster]]")?;
        writeln!(f, "name = \"alps\"")?;
        writeln!(f, "reach = \"fetch\"")?;
        writeln!(f, "secret_sha256 = \"{digest}\"")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_and_only_its_digest_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app-secret");
        let made = make(&path).unwrap();
        let shown = made.to_string();
        let hint = format!("\n#   chgrp gha-slurm-gateway {0} && chmod 0640 {0}\n", path.display());
        for (roots, hinted) in [(true, 1), (false, 0)] {
            let shown = Made { roots, digest: made.digest.clone(), file: made.file.clone() }.to_string();
            assert_eq!(shown.matches(&hint).count(), hinted, "{shown}");
        }
        let secret = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(secret.len() == 65 && secret.ends_with('\n') && !shown.contains(secret.trim()), "{shown}");
        let digest = format!("secret_sha256 = \"{}\"\n", hex(Sha256::digest(secret.trim())));
        assert!(shown.ends_with(&digest), "{shown}");
        assert!(shown.lines().all(|line| line.starts_with(['#', '[']) || line.contains(" = \"")), "{shown}");
        assert_eq!(make(&path).map(|_| ()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), secret, "it is not written over");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
        assert!(make(&folder.path().join("link")).is_err() && !folder.path().join("elsewhere").exists());
    }
}
