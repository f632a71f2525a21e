//! The stand-in for GitHub's runner program: a folder with its scripts, which speak with the simulator as the real
//! ones do with GitHub, write the real ones' lines, and fail where they do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::github::state::runner::encoded_jit_config;

const FILES: [(&str, &str); 6] = [
    ("config.sh", include_str!("../runner/config.sh")),
    ("run.sh", include_str!("../runner/run.sh")),
    ("run-helper.sh.template", include_str!("../runner/run-helper.sh.template")),
    ("bin/Runner.Listener", include_str!("../runner/bin/Runner.Listener")),
    ("bin/Runner.Listener.deps.json", include_str!("../runner/bin/Runner.Listener.deps.json")),
    ("bin/Runner.Worker", include_str!("../runner/bin/Runner.Worker")),
];

/// The variable by which the scripts find the simulator.
pub const GITHUB_VARIABLE: &str = "STAND_IN_GITHUB";

/// Makes the runner's folder at `folder`.
pub fn install(folder: &Path) -> std::io::Result<()> {
    for name in ["bin", "externals"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    for (name, text) in FILES {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// A JIT configuration that names the repository of this page, which no GitHub made: it starts no runner.
pub fn jit_configuration(page: &str) -> String {
    encoded_jit_config(1, "forged", page, "_work")
}
