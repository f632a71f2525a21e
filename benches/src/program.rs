//! Programs of the workspace that are measured, as processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Killed when it is dropped.
pub(crate) struct Program(pub(crate) Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Starts one that does not say when it is there.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::piped()).spawn();
        Ok(Self(child.with_context(|| format!("{program} does not start"))?))
    }

    /// Starts one that says where it listens, and waits for that; what it says.
    pub(crate) fn listening(command: &mut Command) -> anyhow::Result<(Self, String)> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut started = Self::start(command)?;
        let mut line = String::new();
        if let Some(stdout) = started.0.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        Ok((started, address.with_context(|| format!("{program} did not start"))?))
    }
}

/// Variables of the application, as the environment has them.
pub(crate) fn set_variables(command: &mut Command, variables: &[(&str, &str)]) {
    for (name, value) in variables {
        command.env(format!("SPIN_VARIABLE_{name}"), value);
    }
}

/// A port that is free now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
