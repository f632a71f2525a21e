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
use url::Url;

use crate::config::{self, ClusterName};

/// The secret in a file, as the app is told of it.
pub(crate) struct Made {
    digest: String,
    file: String,
    cluster: Option<ClusterName>,
    url: Option<Url>,
    /// Whether it is root's alone, as which no gateway has to run.
    roots: bool,
    /// Whether the file was there before, and was kept.
    pub(crate) kept: bool,
}

/// Writes a new secret to a file that does not exist yet, for its owner alone to read. One that exists is read, so that what
/// the app is told can be printed again. `names` are the cluster's and the app's, where the configuration has them.
pub(crate) fn make(path: &Path, (cluster, url): (Option<ClusterName>, Option<Url>)) -> io::Result<Made> {
    // Neither over another file nor through a link.
    let (secret, kept) = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let mut bytes = [0; 32];
            getrandom::getrandom(&mut bytes)?;
            let secret = hex(bytes);
            file.write_all(format!("{secret}\n").as_bytes())?;
            file.sync_all()?;
            (secret, false)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let secret = config::cluster_secret(&std::fs::read_to_string(path)?);
            let secret = secret.map_err(|problem| io::Error::other(format!("it is kept as it is; {problem}")))?;
            (secret.expose().to_owned(), true)
        }
        Err(error) => return Err(error),
    };
    let digest = hex(Sha256::digest(&secret));
    Ok(Made { digest, file: path.display().to_string(), cluster, url, roots: geteuid().is_root(), kept })
}

/// TOML as it is pasted into the app's variable; what is said to people stands in comments.
impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, file, cluster, url, roots, .. } = self;
        let name = cluster.as_ref().map_or_else(|| "alps".to_owned(), ToString::to_string);
        let url = url.as_ref().map_or("https://gha-slurm.example.org", Url::as_str);
        writeln!(f, "# The secret is in {file}. Name it in the gateway's configuration, beside the app's public URL:")?;
        writeln!(f, "#   app: {{url: {url}, cluster: {name}, secretFile: {file}}}")?;
        if *roots {
            writeln!(
                f,
                "# It is for root alone to read. If the gateway runs as another user, let that one's group read it:"
            )?;
            writeln!(f, "#   chgrp gha-slurm-gateway {file} && chmod 0640 {file}")?;
        }
        let hint = if cluster.is_some() { "" } else { " # the same as app.cluster" };
        writeln!(f, "# Add this to the app's variable `clusters`, under the same name:")?;
        writeln!(f, "[[cluster]]")?;
        writeln!(f, "name = \"{name}\"{hint}")?;
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
        let nameless = || (None, None);
        let made = make(&path, nameless()).unwrap();
        let shown = made.to_string();
        let hint = format!("\n#   chgrp gha-slurm-gateway {0} && chmod 0640 {0}\n", path.display());
        for (roots, hinted) in [(true, 1), (false, 0)] {
            let (digest, file) = (made.digest.clone(), made.file.clone());
            let shown = Made { roots, digest, file, cluster: None, url: None, kept: false }.to_string();
            assert_eq!(shown.matches(&hint).count(), hinted, "{shown}");
        }
        let secret = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(secret.len() == 65 && secret.ends_with('\n') && !shown.contains(secret.trim()), "{shown}");
        let digest = format!("secret_sha256 = \"{}\"\n", hex(Sha256::digest(secret.trim())));
        assert!(shown.ends_with(&digest), "{shown}");
        assert!(shown.lines().all(|line| line.starts_with(['#', '[']) || line.contains(" = \"")), "{shown}");
        let names = ("eiger".to_owned().try_into().ok(), Url::parse("https://app.example").ok());
        let again = make(&path, names).unwrap();
        assert!(again.kept && !made.kept && shown.contains("name = \"alps\" # the same as app.cluster\n"), "{shown}");
        let again = again.to_string();
        assert!(again.ends_with(&digest) && again.contains("\nname = \"eiger\"\n"), "{again}");
        assert!(again.contains("app: {url: https://app.example/, cluster: eiger, secretFile: "), "{again}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), secret, "it is not written over");
        std::fs::write(folder.path().join("notes"), "not a secret\n").unwrap();
        assert!(make(&folder.path().join("notes"), nameless()).is_err());
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
        assert!(make(&folder.path().join("link"), nameless()).is_err() && !folder.path().join("elsewhere").exists());
    }
}
