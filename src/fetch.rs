//! Asking a source, and the clients that it is asked through: a Vault with the session store of this
//! desk, and the workload whose identity logs in. Every client of a Vault is made here, so that every
//! Vault is judged here.

use std::sync::Arc;
use std::time::Instant;

use secrecy::SecretString;

use crate::broker::Wish;
use crate::cache::{ProviderSessions, Sessions};
use crate::config::{
    AuthMethod, Identity, JwtOrigin, Name, Provider, SourceSettings, TlsSettings, TokenExchange,
    VaultSettings,
};
use crate::desk::Desk;
use crate::error::Error;
use crate::http;
use crate::identity::{self, Workload};
use crate::issue::Conditions;
use crate::keys;
use crate::network::on_the_network;
use crate::oidc::{self, Freshness, OidcError};
use crate::source::oidc::Oidc;
use crate::source::token_exchange::{self, Exchange};
use crate::source::token_request::{Hub, HubParts};
use crate::source::{Asking, Fetched, Source};
use crate::trust;
use crate::vault::session::SessionKey;
use crate::vault::{JwtSource, Parts, Patience, Vault, found_token};

/// Asks the source, with the runtime that only a miss starts.
///
/// # Errors
/// What the source, or the way to it, fails with.
pub fn fetch(desk: &Desk, conditions: &Conditions) -> Result<Fetched, Error> {
    on_the_network(async {
        let source = source(desk, conditions)?;
        let asking = Asking {
            server: desk.cluster.as_ref().map(|cluster| cluster.server.clone()),
            certificate_authority: desk.cluster.as_ref().and_then(|cluster| cluster.authority_pem.clone()),
        };
        source.mint(&asking, conditions.clock).await
    })
}

/// How new a provider's token must be.
fn freshness(conditions: &Conditions) -> Freshness {
    match conditions.wish {
        Wish::Usual | Wish::AtOnce => Freshness::Usual,
        Wish::Since(moment) => Freshness::Since(moment),
        Wish::Anew | Wish::Lasting(_) | Wish::Other { .. } => Freshness::Since((conditions.clock)()),
    }
}

fn provider_named(desk: &Desk, name: &Name, conditions: &Conditions) -> Result<oidc::Client, Error> {
    let settings = desk.request.settings.providers.get(name);
    provider(desk, settings.ok_or_else(|| Error::Fault(format!("no provider `{name}`")))?, conditions)
}

/// A client for one provider, whose session is kept in the place of this desk.
///
/// # Errors
/// A provider that only a flag names, or settings of the environment that make no sense.
pub fn provider(desk: &Desk, settings: &Provider, conditions: &Conditions) -> Result<oidc::Client, Error> {
    // Security: the one maker of these clients, also for a provider that only an identity names.
    trust::judge_provider(settings, desk.memory().read()?.vaults(), desk.env.foreign())?;
    let note = Arc::clone(&conditions.note);
    let waiting = move || note("waiting for another process that renews the session");
    Ok(oidc::Client::new(oidc::Parts {
        settings: settings.clone(),
        transport: desk.request.transport.clone(),
        sessions: Arc::new(ProviderSessions::new(&desk.place, conditions.timeout, Box::new(waiting))),
        session_key: keys::provider_key(settings),
        clock: conditions.clock,
        patience: Patience::Until(Instant::now() + conditions.timeout),
        note: Arc::clone(&conditions.note),
    })?)
}

/// The source of a desk, with the client that it is asked through.
///
/// # Errors
/// Settings, a kubeconfig or a credential that cannot be used.
pub fn source(desk: &Desk, conditions: &Conditions) -> Result<Source, Error> {
    let vault = |_: Option<&Name>| {
        let (Some(settings), Some(key)) = (&desk.request.vault, &desk.session_key) else {
            return Err(Error::Fault("the source names no vault".into()));
        };
        Ok(Arc::new(self::vault(desk, settings, key, conditions)?))
    };
    let hub = |context: &str| {
        let parts = HubParts {
            env: &desk.env,
            transport: &desk.request.transport,
            profile: &desk.request.profile_label,
            deadline: Instant::now() + conditions.timeout,
        };
        Hub::open(context, &parts)
    };
    let of = |client: oidc::Client| {
        let token = client.settings().token;
        Oidc { client: Arc::new(client), token, freshness: freshness(conditions) }
    };
    if let SourceSettings::TokenExchange(exchange) = &desk.request.source
        && let Some(person) = &exchange.person
    {
        return Ok(Source::Oidc(of(self::provider(desk, person, conditions)?)));
    }
    let provider = |name: &Name| Ok(of(provider_named(desk, name, conditions)?));
    let exchange = |settings: &TokenExchange| self::exchange(desk, settings, conditions);
    Source::new(&desk.request.source, vault, exchange, provider, hub)
}

/// A client for one Vault, whose session is kept under `key` in the place of this desk.
///
/// # Errors
/// Settings of the environment that make no sense, or a token helper that fails.
pub fn vault(
    desk: &Desk,
    settings: &VaultSettings,
    key: &SessionKey,
    conditions: &Conditions,
) -> Result<Vault, Error> {
    // Security: the one maker of Vault clients, also for a Vault that only an identity names.
    trust::judge_vault(settings, desk.memory().read()?.vaults(), desk.env.foreign())?;
    let deadline = Instant::now() + conditions.timeout;
    let note = Arc::clone(&conditions.note);
    let waiting = move || note("waiting for another process that logs in");
    let sessions = Sessions::new(&desk.place, conditions.timeout, Box::new(waiting))
        .of_repeatable(settings.auth.is_repeatable());
    let found_token = match settings.auth {
        AuthMethod::Token => found_token::find(&desk.env, &settings.address.to_string(), deadline)?,
        _ => None,
    };
    Ok(Vault::new(Parts {
        settings: settings.clone(),
        transport: desk.request.transport.clone(),
        sessions: Arc::new(sessions),
        session_key: key.clone(),
        workload: workload(desk, &settings.auth, conditions, deadline),
        found_token,
        clock: conditions.clock,
        patience: Patience::Until(deadline),
        note: Arc::clone(&conditions.note),
    })?)
}

/// An exchange, whose subject may be the identity token of a Vault.
fn exchange(desk: &Desk, settings: &TokenExchange, conditions: &Conditions) -> Result<Exchange, Error> {
    // Security: a token or a secret goes only to a place that the person's settings name.
    trust::judge_service(desk.request.named_by, settings)?;
    let deadline = Instant::now() + conditions.timeout;
    let subject = keys::subject_of(settings, &desk.request)
        .map(|(name, identity)| workload_of(desk, name, &identity, conditions, deadline));
    let tls = TlsSettings {
        certificate_authorities: settings.certificate_authority.iter().cloned().collect(),
        ..TlsSettings::default()
    };
    let http = http::Client::new(&tls, &desk.request.transport, None).map_err(OidcError::from)?;
    Ok(Exchange::new(token_exchange::Parts {
        settings: settings.clone(),
        http,
        subject,
        deadline,
        clock: conditions.clock,
        pause: |duration| Box::pin(tokio::time::sleep(duration)),
    }))
}

/// The subject token of an exchange, for a program that exchanges it itself; none where the source has
/// none.
///
/// # Errors
/// The workload cannot say who it is.
pub fn subject(desk: &Desk, conditions: &Conditions) -> Result<Option<SecretString>, Error> {
    let SourceSettings::TokenExchange(settings) = &desk.request.source else { return Ok(None) };
    // Security: as for an exchange of ours.
    trust::judge_service(desk.request.named_by, settings)?;
    let Some((name, identity)) = keys::subject_of(settings, &desk.request) else { return Ok(None) };
    let deadline = Instant::now() + conditions.timeout;
    let workload = workload_of(desk, name, &identity, conditions, deadline);
    on_the_network(async { Ok(Some(workload.jwt().await?)) })
}

/// The workload whose JWT logs in, for the methods that take one.
fn workload(
    desk: &Desk,
    auth: &AuthMethod,
    conditions: &Conditions,
    deadline: Instant,
) -> Option<Arc<dyn JwtSource>> {
    let (name, identity) = match auth {
        AuthMethod::Kubernetes { identity, .. } => {
            (identity.as_ref(), keys::identity_of(identity.as_ref(), &desk.request)?)
        }
        AuthMethod::Jwt { from: JwtOrigin::Identity(name), .. } => {
            (Some(name), keys::identity_of(Some(name), &desk.request)?)
        }
        AuthMethod::Jwt { from: JwtOrigin::Provider(name), .. } => {
            (Some(name), Identity::Oidc { provider: name.clone() })
        }
        _ => return None,
    };
    Some(workload_of(desk, name, &identity, conditions, deadline))
}

fn workload_of(
    desk: &Desk,
    name: Option<&Name>,
    identity: &Identity,
    conditions: &Conditions,
    deadline: Instant,
) -> Arc<dyn JwtSource> {
    let parts = identity::Parts {
        env: &desk.env,
        http: &|| http::Client::new(&TlsSettings::default(), &desk.request.transport, None),
        vault: &|name| {
            let settings = desk.request.vault_named(name);
            let settings = settings.ok_or_else(|| Error::Fault(format!("no vault `{name}`")))?;
            let key = keys::session_key(&settings, &desk.request, &desk.env);
            Ok(Arc::new(vault(desk, &settings, &key, conditions)?))
        },
        provider: &|name| Ok(Arc::new(provider_named(desk, name, conditions)?)),
        clock: conditions.clock,
        deadline,
    };
    Arc::new(Workload::new(name, identity, &parts))
}
