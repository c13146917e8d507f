//! Free TCP ports for servers that must be told theirs. A port is only free until somebody takes it,
//! so whoever starts a server on one tries again on another.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::Failure;

/// Below the range from which Linux numbers outgoing connections, so that a server which is stopped
/// and started again finds its port free.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// Runs `start` with free ports, and again with others while it fails because one was taken.
pub fn with_free_ports<const N: usize, T>(start: impl Fn([u16; N]) -> Result<T, Failure>) -> T {
    for _ in 0..5 {
        match start([(); N].map(|()| free())) {
            Ok(started) => return started,
            Err(failure) if failure.is_port_taken() => {}
            Err(failure) => panic!("{failure}"),
        }
    }
    panic!("no free port was still free when the server took it, five times");
}

fn free() -> u16 {
    // Processes begin at different places, so that two test runs seldom want the same port.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(61);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + begin.wrapping_add(step) % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}
