//! The gateway: whether it can be reached from here and accepts the secret.

use gha_slurm_core::gateway::{GatewayError, check_gateway};
use gha_slurm_core::settings::Settings;

use super::DEADLINE;
use super::report::Finding;
use crate::commands::native::Native;

const CHECK: &str = "gateway";

pub(super) fn check(native: &Native) -> Finding {
    let Ok(gateway) = Settings(native).gateway(1) else {
        return Finding::skipped(CHECK, "set gateway_url and gateway_secret first");
    };
    let url = gateway.url.origin().ascii_serialization();
    let behind = "to check what is behind it, run `gha-slurm-gateway check` on its machine";
    match check_gateway(native, &gateway, DEADLINE) {
        Ok(()) => Finding::ok(CHECK, format!("{url} answers and accepts the secret")).with_hint(behind),
        Err(error @ GatewayError::Unauthorized) => {
            let fix = "set gateway_secret to the value of the gateway's ghaSharedSecret";
            Finding::wrong(CHECK, format!("{url}: {error}"), fix)
        }
        Err(GatewayError::Unreachable(error)) => {
            let fix = "start the gateway, open its firewall for this machine, or correct gateway_url";
            Finding::wrong(CHECK, format!("{url} cannot be reached: {error}"), fix)
        }
        Err(error) => {
            let fix = "correct gateway_url, or see the gateway's log";
            Finding::wrong(CHECK, format!("{url}: {error}"), fix)
        }
    }
}
