//! What is kept between two calls: tokens, failures of the last seconds, and sessions, as files in
//! folders of this user. It owns their form, names, modes and locks, and knows nothing of where a
//! token comes from. A file that is not exactly what was written here is a miss, never an error.

pub mod entry;
pub mod failure;
pub mod file;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod hand_outs;
pub mod key;
pub mod lock;
pub mod log_ins;
pub mod provider_sessions;
pub mod seal;
pub mod sessions;
mod shelf;
pub mod store;

pub use entry::{About, Kept};
pub use hand_outs::HandOuts;
pub use key::{CacheKey, KeyBuilder};
pub use lock::{Acquired, Guard};
pub use log_ins::{FailedLogIn, LogIns};
pub use provider_sessions::ProviderSessions;
pub use sessions::Sessions;
pub use shelf::{Left, Resealed};
pub use store::{CacheError, TokenStore};
