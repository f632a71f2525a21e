//! Tests that need something which may not be there, such as a browser or Slurm. Without it they are shown as ignored,
//! with the reason; where a variable of the environment says that it is required, as in CI, they fail instead.
//!
//! Rust's own harness cannot ignore a test at run time. So these test targets have `harness = false` and this `main`:
//!
//! ```ignore
//! fn main() -> ExitCode {
//!     let browser = Need::program("chromedriver", "--version", "GHA_SLURM_REQUIRE_BROWSER");
//!     optional::run(trials![browser: console::who_has_the_admin_token_logs_in_and_out])
//! }
//! ```
//!
//! A test that is not in the list is dead code, which the lints refuse.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test target uses its part")]

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Trial};

/// What some tests need.
pub(crate) struct Need {
    /// Why they cannot run; `None` where they can.
    missing: Option<String>,
    /// The variable by which they must.
    required_by: Option<&'static str>,
}

impl Need {
    /// A program on the path: it is there when it answers to `flag`.
    pub(crate) fn program(program: &str, flag: &str, required_by: &'static str) -> Self {
        Self::command(program, Command::new(program).arg(flag), required_by)
    }

    /// What is there when the command succeeds.
    pub(crate) fn command(what: &str, command: &mut Command, required_by: &'static str) -> Self {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let found = status.is_ok_and(|status| status.success());
        Self { missing: (!found).then(|| format!("{what} is not installed")), required_by: Some(required_by) }
    }

    /// A variable of the environment, which says where something is.
    pub(crate) fn variable(name: &str, required_by: Option<&'static str>) -> Self {
        let set = std::env::var_os(name).is_some();
        Self { missing: (!set).then(|| format!("{name} is not set")), required_by }
    }

    /// This need, and that the tests run as root.
    pub(crate) fn with_root(mut self) -> Self {
        let user = Command::new("id").arg("-u").output();
        if self.missing.is_none() && !user.is_ok_and(|output| output.stdout == b"0\n") {
            self.missing = Some("only root can start it".to_owned());
        }
        self
    }

    /// A test with this need.
    pub(crate) fn trial<F>(&self, name: &str, test: fn() -> F) -> Trial
    where
        F: Future<Output = ()> + 'static,
    {
        let missing = self.missing.clone();
        let required = self.required_by.filter(|variable| std::env::var_os(variable).is_some());
        Trial::ignorable_test(name, move || match (missing, required) {
            (None, _) => {
                tokio::runtime::Runtime::new()?.block_on(test());
                Ok(Completion::Completed)
            }
            (Some(reason), Some(variable)) => Err(format!("{reason}, and {variable} is set").into()),
            (Some(reason), None) => Ok(Completion::ignored_with(reason)),
        })
    }
}

/// Tests that share a need, as they are named in the program.
macro_rules! trials {
    ($need:expr => $($test:path),+ $(,)?) => { vec![$($need.trial(stringify!($test), $test)),+] };
}
pub(crate) use trials;

/// Runs them by the arguments that Rust's own harness takes.
pub(crate) fn run(trials: Vec<Vec<Trial>>) -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), trials.into_iter().flatten().collect()).exit_code()
}
