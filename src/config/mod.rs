//! What a person, an administrator and a kubeconfig may say, validated once into the types that the
//! rest of the program uses. It reads files that [`crate::env`] names, and opens no connection.

mod document;
mod duration;
mod environment;
mod exchange;
mod explain;
mod extension;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod kubeconfig;
mod kubeconfig_user;
mod load;
mod login;
mod name;
mod overrides;
mod problem;
mod providers;
mod read;
mod resolve;
mod sources;
mod types;
mod validate;
mod value;
mod yaml;

#[cfg(test)]
mod tests;

pub use duration::{parse_duration, print_duration};
pub use environment::{Transport, vault_of_environment};
pub use extension::ClusterProfile;
pub use kubeconfig::{ClusterView, ContextView, ExecView, Kubeconfig, KubeconfigFiles, profile_of};
pub use kubeconfig_user::{KubeconfigUser, UserExec};
pub use load::SettingsFiles;
pub use login::LogInOverrides;
pub use name::Name;
pub use overrides::{Overrides, SourceKind};
pub use problem::{Alternatives, By, EntryKind, Place, SettingsError};
pub use providers::*;
pub use resolve::Request;
pub use sources::*;
pub use types::*;
pub use value::ValueError;

/// The version of the settings file and of the cluster extension.
pub const API_VERSION: &str = "vaulttoken.dev/v1alpha1";
