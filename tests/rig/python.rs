//! Pythons with the vendors' own clients in them: a server double is believed only when these accept
//! it. Each runs without the variables and files of the person who runs the tests.

use std::path::PathBuf;
use std::process::Command;

use super::tools::tool;

/// Which clients a Python has; `tests/rig/python` pins them.
#[derive(Clone, Copy, Debug)]
pub enum Sdk {
    /// `databricks-sdk` 0.67.0, of 2025, whose reading of its environment people still meet.
    DatabricksOld,
    /// The newest `databricks-sdk`, `azure-identity` and `google-auth`.
    Clouds,
}

/// The Python that has them.
pub fn python(sdk: Sdk) -> PathBuf {
    tool(match sdk {
        Sdk::DatabricksOld => "python-databricks-old",
        Sdk::Clouds => "python-clouds",
    })
}

/// That Python about to run `program`, with nothing in its environment but `PATH`. It takes no module
/// from the folder that it runs in, and leaves no compiled ones behind.
pub fn python_program(sdk: Sdk, program: &str) -> Command {
    let mut command = Command::new(python(sdk));
    command
        .args(["-I", "-B", "-c", program])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}
