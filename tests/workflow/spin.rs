//! The same application on Spin's own host: what these modules ask of `gha-slurm up` over HTTP, `spin up` answers alike.

use std::process::{Command, Stdio};

use crate::support::on_spin;

/// What says nothing of the host, only of the application.
const MODULES: &[&str] = &[
    "happy::",
    "webhook_bad_input::",
    "redeem_bad_input::",
    "gateway_faults::",
    "github_faults::",
    "races::",
    "repair::",
];

#[test]
fn the_application_behaves_alike_on_spin() {
    if on_spin() {
        return;
    }
    let version = Command::new("spin").arg("--version").stdout(Stdio::piped()).output();
    let Ok(version) = version else {
        println!("skipped: there is no `spin` on PATH");
        return;
    };
    println!("{}", String::from_utf8_lossy(&version.stdout));
    // This very program, with the other host.
    let tests = Command::new(std::env::current_exe().unwrap())
        .args(MODULES)
        .args(["--test-threads", "2"])
        .env("GHA_SLURM_ON_SPIN", "1")
        .status()
        .unwrap();
    assert!(tests.success());
}
