//! The stand-in for GitHub's runner program: a folder with its scripts, which speak with the simulator as the real
//! ones do with GitHub, write the real ones' lines, and fail where they do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

const SCRIPTS: [(&str, &str); 4] = [
    ("config.sh", include_str!("../runner/config.sh")),
    ("run.sh", include_str!("../runner/run.sh")),
    ("run-helper.sh", include_str!("../runner/run-helper.sh")),
    ("bin/Runner.Listener", include_str!("../runner/bin/Runner.Listener")),
];

/// The variable by which the scripts find the simulator.
pub const GITHUB_VARIABLE: &str = "STAND_IN_GITHUB";

/// Makes the runner's folder at `folder`.
pub fn install(folder: &Path) -> std::io::Result<()> {
    for name in ["bin", "externals"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    for (name, text) in SCRIPTS {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// A JIT configuration in the form of GitHub's: the runner's settings and its credentials as files, in base64.
pub fn jit_configuration(page: &str, key: &str) -> String {
    let file = |content: serde_json::Value| BASE64_STANDARD.encode(content.to_string());
    let settings = json!({"AgentId": "1", "GitHubUrl": page, "WorkFolder": "_work", "Ephemeral": "True"});
    let files = json!({
        ".runner": file(settings),
        ".credentials": file(json!({"Scheme": "OAuth"})),
        ".credentials_rsaparams": file(json!({"d": key})),
    });
    BASE64_STANDARD.encode(files.to_string())
}
