//! x
/// How a wait for a lock ended.
pub enum Acquired {
    /// The lock is ours until the guard is dropped.
    Guard(Guard),
    /// Somebody else still has it.
    Busy,
    /// Locks do not work here; go on without one. Says why.
    Unsupported(String),
}
/// A lock that is held.
#[must_use = "a lock ends with its guard"]
#[derive(Debug)]
pub struct Guard {}
