//! What a person, an administrator and a kubeconfig may say, validated once into the types that the
//! rest of the program uses. It reads files that [`crate::env`] names, and opens no connection.

mod name;
mod problem;
mod transport;
mod types;

pub use name::Name;
pub use problem::SettingsError;
pub use transport::Transport;
pub use types::*;
