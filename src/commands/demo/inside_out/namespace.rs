//! A program in a network of its own: Linux's namespaces, by `unshare` (util-linux) and `ip` (iproute2), which needs no root
//! where users may make namespaces. What is started in there ends with its first process, whatever it did.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

/// The processes are in a namespace of their own too, so that the kernel ends all of them together.
const UNSHARE: [&str; 7] = ["--user", "--map-root-user", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"];
/// `ip` is not always on a user's path. The shell stays, because the first process of a namespace has to take care of
/// those whose parents have ended.
const SCRIPT: &str = r#"PATH=$PATH:/usr/sbin:/sbin ip link set lo up && "$@"; exit $?"#;

/// A program, to be given arguments, in a network where there is nothing but loopback.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["--", "sh", "-c", SCRIPT, "sh"]).arg(program);
    command
}

/// Why that is not possible here, in one line; `None` where it is.
pub(super) async fn impossible() -> Option<String> {
    let tried = command(Path::new("true")).stdin(Stdio::null()).output().await;
    match tried {
        Ok(Output { status, .. }) if status.success() => None,
        Ok(Output { stderr, .. }) => {
            let said = String::from_utf8_lossy(&stderr);
            Some(said.lines().next().unwrap_or("unshare failed without a word").to_owned())
        }
        Err(error) => Some(format!("unshare: {error}")),
    }
}
