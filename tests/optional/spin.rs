//! The same application on Spin's own host: what these modules ask of `gha-slurm up` over HTTP, `spin up` answers alike.

use crate::support::workflow_tests;

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

pub(crate) async fn the_application_behaves_alike_on_spin() {
    let tests =
        workflow_tests().args(["--test-threads", "2"]).args(MODULES).env("GHA_SLURM_ON_SPIN", "1").status().unwrap();
    assert!(tests.success());
}
