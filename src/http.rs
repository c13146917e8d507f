//! The only maker of HTTP clients.
