//! The servers that profiles draw on: whether they answer, and by which clock. Each is asked once, and
//! nothing secret is sent.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::TimeDelta;

use super::{Order, Report};
use crate::config::Request;
use crate::error::Error;
use crate::oidc::provider;
use crate::token::Timestamp;
use crate::vault;

/// Further off than this, and what is issued there has not begun or has ended here.
const TOLERANCE: TimeDelta = TimeDelta::seconds(30);

/// Whom we asked already.
#[derive(Default)]
pub(super) struct Asked {
    servers: BTreeSet<String>,
    clocks: BTreeSet<String>,
}

impl Asked {
    /// Asks the Vault and the provider of a request.
    pub(super) async fn ask(&mut self, request: &Request, order: &Order<'_>, report: &mut Report) {
        if let Some(vault) = &request.vault {
            let address = vault.address.to_string();
            if self.servers.insert(address.clone()) {
                match vault::health(vault, &request.transport, Instant::now() + order.timeout).await {
                    Ok(health) => {
                        report.ok("vault", format!("`{address}` answers, and is unsealed"));
                        self.clock(&address, health.date, order, report);
                    }
                    Err(error) => report.error("vault", error),
                }
            }
        }
        if let Some((_, settings)) = request.provider() {
            let issuer = settings.issuer.as_str().to_owned();
            if self.servers.insert(issuer.clone()) {
                let deadline = Instant::now() + order.timeout;
                match provider::check(settings, &request.transport, deadline).await {
                    Ok(()) => report.ok("provider", format!("`{issuer}` answers, and describes itself")),
                    Err(error) => report.error("provider", Error::from(error)),
                }
            }
        }
    }

    /// Compares our clock with a server's.
    pub(super) fn clock(
        &mut self,
        server: &str,
        date: Option<Timestamp>,
        order: &Order<'_>,
        report: &mut Report,
    ) {
        if let Some(date) = date.filter(|_| self.clocks.insert(server.to_owned())) {
            compare(server, (order.clock)() - date, report);
        }
    }
}

/// `ahead`: how far our clock is ahead of the server's.
pub(super) fn compare(server: &str, ahead: TimeDelta, report: &mut Report) {
    if ahead.abs() <= TOLERANCE {
        return report.ok("clock", format!("this machine's clock agrees with that of `{server}`"));
    }
    let (seconds, how) =
        (ahead.num_seconds().abs(), if ahead < TimeDelta::zero() { "behind" } else { "ahead of" });
    let message = format!("this machine's clock is {seconds} s {how} that of `{server}`");
    let why = "tokens seem to have ended, or not to have begun, when they are good".to_owned();
    report.warn("clock", message, Some(why), Some("set the clock, such as by `timedatectl set-ntp true`"));
}
