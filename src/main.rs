//! `kubectl-vaulttoken`: parse, run, report, exit code.

use std::process::ExitCode;

use vaulttoken::{cli, env::Env, process};

fn main() -> ExitCode {
    process::harden();
    ExitCode::from(cli::run(std::env::args_os(), Env::of_process(), process::now))
}
