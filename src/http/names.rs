//! Which addresses the name of a host stands for. On Linux `/etc/hosts` is read, and then the name
//! servers of `/etc/resolv.conf` are asked, as the C library does for `hosts: files dns`; elsewhere
//! the system is asked. It opens no connection to the host itself, and remembers nothing.
//!
//! What is released is linked statically, so that it starts without a loader and on any Linux. The C
//! library in it would load the machine's own modules to look a name up, made for another C library.

#[cfg(target_os = "linux")]
mod ask;
#[cfg(target_os = "linux")]
mod configuration;
#[cfg(target_os = "linux")]
mod hosts;
#[cfg(target_os = "linux")]
mod message;
#[cfg(target_os = "linux")]
mod order;

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Why a name has no address here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    /// It does not exist, or has no address.
    #[error("its name has no address")]
    Unknown,
    /// No server of names answered in time; who was asked.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the system does not say"))]
    #[error("no name server answered: {0}")]
    Unanswered(String),
    /// The servers of names answered, but could not say.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "the system does not say"))]
    #[error("the name server could not find out: {0}")]
    Failed(String),
}

/// What the HTTP library asks for the addresses of a host.
pub(super) struct Names {
    /// The host that is asked for whatever the URL says, where its certificate has another name.
    instead: Option<String>,
}

impl Names {
    /// Each host by its own name.
    pub(super) fn own() -> Self {
        Self { instead: None }
    }

    /// Answers every question with the addresses of one host.
    pub(super) fn of(host: &str) -> Self {
        Self { instead: Some(host.to_owned()) }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.instead.clone().unwrap_or_else(|| name.as_str().to_owned());
        Box::pin(async move {
            // The port is the URL's.
            let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
                Ok(address) => vec![SocketAddr::new(address, 0)],
                Err(_) => lookup(&host).await?,
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(target_os = "linux")]
async fn lookup(host: &str) -> Result<Vec<SocketAddr>, NameError> {
    let found = match hosts::of_system(host) {
        Some(found) => found,
        None => ask::addresses(&configuration::Configuration::of_system(), host).await?,
    };
    let addresses = order::best_first(found, order::source_for);
    Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "here the program is linked with the system's own")]
async fn lookup(host: &str) -> Result<Vec<SocketAddr>, NameError> {
    let found = tokio::net::lookup_host((host, 0)).await;
    // The system does not say in a way that can be told apart why not.
    found.map(Iterator::collect).map_err(|_| NameError::Unknown)
}
