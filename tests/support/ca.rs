//! A certificate authority of a test's own, made by openssl.

// Each test target uses its part.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::Command;

/// A certificate authority in a folder.
pub(crate) struct Ca(tempfile::TempDir);

impl Ca {
    pub(crate) fn new() -> Self {
        let ca = Self(tempfile::tempdir().unwrap());
        ca.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=Lab -keyout ca.key \
             -out ca.pem -addext basicConstraints=critical,CA:TRUE",
        );
        ca
    }

    fn openssl(&self, arguments: &str) {
        let output =
            Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) fn root(&self) -> String {
        self.0.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// A certificate for a name, valid for so many days, and its key.
    pub(crate) fn issue(&self, name: &str, days: i32) -> (PathBuf, PathBuf) {
        let of = |extension: &str| format!("{name}{days}.{extension}");
        let (key, request, names, certificate) = (of("key"), of("csr"), of("ext"), of("pem"));
        std::fs::write(self.0.path().join(&names), format!("subjectAltName=DNS:{name}\n")).unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {key} -out {request}"
        ));
        self.openssl(&format!(
            "x509 -req -in {request} -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile {names} -out \
             {certificate}"
        ));
        (self.0.path().join(certificate), self.0.path().join(key))
    }
}
