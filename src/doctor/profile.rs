//! One profile: the servers that it draws on, its session, and what its cluster says to the token that
//! is kept. It logs in to nothing and fetches nothing.

use std::sync::Arc;
use std::time::Instant;

use super::servers::Asked;
use super::{Order, Report};
use crate::cache::Kept;
use crate::cluster::Cluster;
use crate::config::{AuthMethod, Kubeconfig, Name, Overrides, Request, Settings};
use crate::desk::Desk;
use crate::error::{Error, ExitCode};
use crate::inventory::{self, SessionItem, TokenState};
use crate::network::on_the_network;
use crate::probe::{Review, Target};
use crate::token::{State, Timestamp, Token};
use crate::trust::{self, Pin, Verdict};
use crate::vault::{VaultError, found_token};

const SESSION: &str = "session";
const TOKEN: &str = "token";

pub(super) fn examine(
    order: &Order<'_>,
    settings: &Arc<Settings>,
    kubeconfig: &Kubeconfig,
    report: &mut Report,
) -> Result<(), Error> {
    let names = match order.profiles.as_slice() {
        [] => settings.profiles.keys().map(Name::to_string).collect(),
        named => named.to_vec(),
    };
    let mut asked = Asked::default();
    for name in names {
        report.calling.profile = Some(name.clone());
        let overrides = Overrides { profile: Some(name), ..Overrides::default() };
        let desk = Request::resolve(settings, order.env, &overrides, None)
            .map_err(Error::from)
            .and_then(|request| Desk::of(order.env.clone(), request, None));
        match desk {
            Ok(desk) => one(&desk, order, kubeconfig, &mut asked, report)?,
            Err(error) => report.error("profile", error),
        }
    }
    report.calling.profile = None;
    Ok(())
}

fn one(
    desk: &Desk,
    order: &Order<'_>,
    kubeconfig: &Kubeconfig,
    asked: &mut Asked,
    report: &mut Report,
) -> Result<(), Error> {
    let now = (order.clock)();
    let kept = inventory::kept_tokens(desk);
    if order.offline {
        session(desk, now, report);
        kept_here(desk, &kept, now, report);
        return Ok(());
    }
    on_the_network(async {
        asked.ask(&desk.request, order, report).await;
        session(desk, now, report);
        kept_here(desk, &kept, now, report);
        for kept in kept.iter().filter(|kept| kept.token.state(now) != State::Expired) {
            at_cluster(desk, kept, order, kubeconfig, asked, report).await;
        }
        Ok(())
    })
}

fn session(desk: &Desk, now: Timestamp, report: &mut Report) {
    let profile = &desk.request.profile_label;
    let (vault, provider) = (inventory::session(desk, now), inventory::provider_session(desk, now));
    let is_unattended = desk.request.vault.as_ref().is_some_and(|vault| vault.auth.is_unattended());
    let lies_about = desk.request.vault.as_ref().is_some_and(|vault| vault.auth == AuthMethod::Token)
        && found_token::fingerprint(&desk.env).is_some();
    let decisive = match (vault, provider) {
        // A provider's session logs in to the Vault.
        (Some(vault), Some(provider)) if is_unattended && vault.state != TokenState::Valid => provider,
        (Some(vault), None) if is_unattended && vault.state != TokenState::Valid => {
            let message = format!("{profile}: no session is kept; the next call logs in by itself");
            return report.ok(SESSION, message);
        }
        (Some(session), _) | (None, Some(session)) => session,
        (None, None) => return,
    };
    told_session(profile, &decisive, lies_about, report);
}

pub(super) fn told_session(profile: &str, session: &SessionItem, lies_about: bool, report: &mut Report) {
    let at = session.vault.as_deref().or(session.provider.as_deref()).unwrap_or_default();
    let by = format!("at `{at}` by `{}`", session.method);
    match (session.state, session.expires_at) {
        (TokenState::Valid | TokenState::RefreshDue, Some(end)) => {
            report.ok(SESSION, format!("{profile}: logged in {by} until {}", shown(end)));
        }
        (TokenState::Valid | TokenState::RefreshDue, None) => {
            report.ok(SESSION, format!("{profile}: logged in {by}"));
        }
        _ if lies_about => {
            report.ok(SESSION, format!("{profile}: a token for `{at}` is there, not of our making"));
        }
        (state, _) => {
            let why = match state {
                TokenState::Expired => "the session has ended",
                _ => "there is no session",
            };
            let message = format!("{profile}: a person must log in {by}");
            let hint = Some("{program} login{profile}{config}");
            report.fail(SESSION, ExitCode::LoginRequired, message, Some(why.to_owned()), hint);
        }
    }
}

fn kept_here(desk: &Desk, kept: &[Kept], now: Timestamp, report: &mut Report) {
    let profile = &desk.request.profile_label;
    if kept.is_empty() {
        report.ok(TOKEN, format!("{profile}: none is kept; the next call fetches one"));
    }
    for kept in kept {
        let server = kept.about.cluster_server.as_deref();
        let whose = server.map_or_else(String::new, |server| format!(" for `{server}`"));
        report.ok(
            TOKEN,
            match kept.token.state(now) {
                State::Expired => {
                    format!("{profile}: the one{whose} has ended; the next call fetches another")
                }
                State::Valid | State::RefreshDue => {
                    format!("{profile}: one{whose} is kept, usable until {}", shown(kept.token.usable_until))
                }
            },
        );
    }
}

async fn at_cluster(
    desk: &Desk,
    kept: &Kept,
    order: &Order<'_>,
    kubeconfig: &Kubeconfig,
    asked: &mut Asked,
    report: &mut Report,
) {
    let profile = &desk.request.profile_label;
    let Some(server) = kept.about.cluster_server.as_deref() else { return };
    let Some(target) = target(desk, server, kubeconfig) else {
        let message = format!("{profile}: `{server}` was not asked");
        let why = "neither the kubeconfig nor a pin says by which authority it is known".to_owned();
        return report.warn(TOKEN, message, Some(why), Some("name the kubeconfig with `--kubeconfig`"));
    };
    let deadline = Instant::now() + order.timeout;
    match target.review(&kept.token, &desk.request.transport, deadline).await {
        Ok(review) => {
            told_review(profile, server, &review, &kept.token, report);
            asked.clock(server, review.date, order, report);
        }
        Err(error) => report.error("cluster", VaultError::Http(error)),
    }
}

/// The cluster that a kept token is for, as far as it can be checked who answers there.
///
/// Security: a kubeconfig only adds the authority of a server that the profile's tokens may go to
/// already.
fn target(desk: &Desk, server: &str, kubeconfig: &Kubeconfig) -> Option<Target> {
    let (scope, memory) = (desk.scope().ok()?, desk.memory().read().ok()?);
    let pins: &[Pin] = if scope.pins.is_empty() { &scope.restricting } else { &scope.pins };
    let remembered = scope.remembered(&memory);
    let may_go = |cluster: &Cluster| {
        cluster.to_known().is_at(server)
            && !cluster.insecure
            && trust::judge(pins, &remembered, Some(cluster)) == Ok(Verdict::Known)
    };
    kubeconfig
        .contexts()
        .filter_map(|name| Cluster::of_view(&kubeconfig.context(Some(name)).ok()?.cluster).ok())
        .filter(may_go)
        .find_map(|cluster| Target::of(Some(&cluster), &[]))
        .or_else(|| {
            let at_it = |pin: &&crate::config::ClusterPin| {
                Pin::of(pin).is_ok_and(|pin| pin.cluster.is_at(server)) && !pin.insecure_skip_tls_verify
            };
            let pin = desk.request.pins.iter().find(at_it)?;
            Target::of(None, std::slice::from_ref(pin))
        })
}

pub(super) fn told_review(profile: &str, server: &str, review: &Review, token: &Token, report: &mut Report) {
    match (review.status, review.user.as_deref()) {
        (401, _) => {
            let message = format!("{profile}: `{server}` refuses the token (401)");
            let hint = Some("{program} refresh{profile}{config}");
            report.fail(TOKEN, ExitCode::Refused, message, Some(suspects(token)), hint);
        }
        (200..=299, Some("system:anonymous")) => {
            let message = format!("{profile}: `{server}` sees nobody behind the token");
            let why = "something on the way takes the `Authorization` header away".to_owned();
            report.fail(TOKEN, ExitCode::Refused, message, Some(why), Some("ask whoever runs the proxy"));
        }
        (200..=299, Some(user)) => {
            report.ok(TOKEN, format!("{profile}: `{server}` accepts the token, as `{user}`"));
        }
        (500.., _) => {
            let message =
                format!("{profile}: `{server}` cannot serve at the moment (status {})", review.status);
            report.fail(TOKEN, ExitCode::Unreachable, message, None, Some("try again in a minute"));
        }
        (status, _) => report.ok(
            TOKEN,
            format!(
                "{profile}: `{server}` does not refuse the token; it does not say whose (status {status})"
            ),
        ),
    }
}

/// What a 401 may come from. The cluster does not say.
fn suspects(token: &Token) -> String {
    let mut suspects = Vec::new();
    if token.lease.as_ref().is_some_and(|lease| lease.ends_token != Some(false)) {
        suspects.push("its lease was revoked, and its account with it".to_owned());
    }
    match token.claims() {
        Some(claims) => {
            if let Some(issuer) = claims.issuer {
                suspects.push(format!("the cluster does not believe its issuer `{issuer}`"));
            }
            match claims.audiences.as_slice() {
                [] => {}
                some => suspects.push(format!("the cluster takes no audience `{}`", some.join("`, `"))),
            }
            if let Some(end) = claims.expires_at {
                suspects
                    .push(format!("it has ended by the cluster's clock ({} by its own word)", shown(end)));
            }
        }
        None => suspects.push("it is opaque: only the cluster knows it".to_owned()),
    }
    format!("the cluster does not say; perhaps {}", suspects.join("; or "))
}

fn shown(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
