//! What a configuration may say and had better not. None of it is an error, because files of the original service are
//! read unchanged; all of it is told at the start, after each reload, and by `check`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Config;
use crate::people::People;

/// `openssl rand -hex 16` has twice as many.
const SHORTEST_SECRET: usize = 16;
const LEAST_DIFFERENT: usize = 6;

impl Config {
    fn files_with_secrets(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("ghaSharedSecret", self.secret_file.as_deref()),
            ("app.secretFile", self.fetching.as_ref().and_then(|fetching| fetching.secret_file.as_deref())),
            ("slurmrestd.jwtKeyFile", self.backends.slurmrestd.jwt_key_file.as_deref()),
            ("tls.key", self.tls.as_ref().map(|tls| tls.key.as_path())),
        ];
        files.into_iter().filter_map(|(key, path)| Some((key, path?)))
    }

    /// One line per weakness, each with the key that it is about.
    pub fn weaknesses(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for why in self.secrets.iter().filter_map(|secret| weak(secret.expose())) {
            found.push(("ghaSharedSecret", format!("{why}: make one with openssl rand -hex 32")));
        }
        found.extend(self.files_with_secrets().filter_map(readable_by_all));
        if self.tls.is_none() && self.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            found.push(("insecureHttp", "the shared secret and all launch tokens travel in clear".to_owned()));
        }
        match &self.app {
            None => found.push((
                "app.url",
                "not set: whoever has the shared secret decides where job scripts send their launch tokens".to_owned(),
            )),
            Some(app) => found.extend(
                app.in_clear().map(|url| ("app.url", format!("launch tokens travel to {url} in clear: use https"))),
            ),
        }
        if self.template.is_some() {
            found.push((
                "jobTemplate",
                "no check runs at the node: a job that GitHub gives to a runner of another's runs all the same, and neither policy nor people are enforced; the built-in job script checks each job before its first step"
                    .to_owned(),
            ));
        }
        if let Some(file) = self.people.as_ref().and_then(People::file) {
            found.extend(writable_by_all(file));
        }
        for user in self.mapping.users() {
            let policy = self.policies.of(user);
            if policy.public && policy.forks && policy.actors.is_empty() {
                found.push((
                    "policy",
                    format!("{user} runs code of forks of public repositories: of anybody who has a GitHub account"),
                ));
            }
            let owners = self.mapping.owners(user);
            if owners.len() > 1 {
                let owners = owners.into_iter().collect::<Vec<_>>().join(", ");
                found.push((
                    "slurmUsers",
                    format!("{user} runs jobs of {owners}: a Slurm user is one trust domain, so these can read each other's files, processes and credentials"),
                ));
            }
        }
        found
    }

    /// Writes them into the log.
    pub(crate) fn tell_weaknesses(&self) {
        for (key, line) in self.weaknesses() {
            tracing::warn!(key, "{line}");
        }
    }
}

/// A file with a secret in it. Its group may be the gateway's.
fn readable_by_all((key, path): (&'static str, &Path)) -> Option<(&'static str, String)> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let line = format!("every user of this machine can read {} (mode {mode:04o}): chmod o= it", path.display());
    (mode & 0o004 != 0).then_some((key, line))
}

/// The file that says who is whom.
fn writable_by_all(path: &Path) -> Option<(&'static str, String)> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let line = format!("every user of this machine can write {} (mode {mode:04o}): chmod o= it", path.display());
    (mode & 0o002 != 0).then_some(("people.file", line))
}

/// Why a secret could be guessed.
pub(super) fn weak(secret: &str) -> Option<&'static str> {
    let lower = secret.to_ascii_lowercase();
    let different = secret.chars().collect::<std::collections::BTreeSet<_>>().len();
    if lower.starts_with("change") {
        Some("still the example's")
    } else if secret.len() < SHORTEST_SECRET {
        Some("shorter than 16 characters")
    } else if different < LEAST_DIFFERENT {
        Some("of fewer than 6 different characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_all_can_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "x").unwrap();
        for (mode, told) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(readable_by_all(("tls.key", path.as_path())).is_some(), told, "{mode:o}");
            assert!(writable_by_all(&path).is_none(), "{mode:o}");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o646)).unwrap();
        assert!(writable_by_all(&path).is_some());
    }

    #[test]
    fn a_weak_secret_is_told() {
        for bad in ["change-me", "ChangeThisToSomethingSecret", "gateway-secret", "aaaaaaaaaaaaaaaaaaaaaaaa", ""] {
            assert!(weak(bad).is_some(), "{bad}");
        }
        assert_eq!(weak("4d1f0a2b9c8e7f60a1b2c3d4e5f60718"), None);
    }
}
