//! x

use crate::error::{ExitCode, Explain};

/// Placeholder until the module lands.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {}

impl Explain for SettingsError {
    fn exit_code(&self) -> ExitCode {
        match *self {}
    }
    fn why(&self) -> Option<String> {
        match *self {}
    }
    fn hint(&self) -> Option<String> {
        match *self {}
    }
}
