//! `gha-slurm completions` and `gha-slurm man`: a completion script and a manual page, generated from the definition of
//! the flags.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

#[derive(Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

pub(crate) fn completions(arguments: &Completions, mut command: Command) -> ExitCode {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(arguments.shell, &mut command, name, &mut script);
    print(&script)
}

/// The page of the program, followed by those of its commands.
pub(crate) fn man(mut command: Command) -> ExitCode {
    command = command.disable_help_subcommand(true);
    // Prefixes the name of each command with the program's.
    command.build();
    let mut page = Vec::new();
    let commands: Vec<Command> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let done = std::iter::once(command)
        .chain(commands)
        .try_for_each(|command| clap_mangen::Man::new(command).render(&mut page));
    match done {
        Ok(()) => print(&page),
        Err(error) => {
            eprintln!("gha-slurm man: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
