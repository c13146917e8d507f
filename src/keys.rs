//! What a token and a session are kept under: everything that changes the answer.
//!
//! Two users, two Vaults, two namespaces, two roles or two clusters in one home never share an
//! entry, because each of them is a part here. It reads what fingerprints a caller (a token file,
//! an identity file), and never uses the network.

use std::collections::BTreeSet;

use crate::cache::{CacheKey, KeyBuilder};
use crate::cluster::Cluster;
use crate::config::{
    AuthMethod, ClusterPin, Identity, JwtOrigin, Name, Pem, Provider, Request, SourceSettings, TlsSettings,
    TokenExchange, VaultSettings,
};
use crate::env::Env;
use crate::identity;
use crate::vault::found_token;
use crate::vault::session::SessionKey;

/// The key of a Vault session: origin, namespace, method, and whose identity logs in.
#[must_use]
pub fn session_key(vault: &VaultSettings, request: &Request, env: &Env) -> SessionKey {
    let key = KeyBuilder::new("session", 1)
        .part("address", vault.address.to_string())
        .optional("namespace", vault.namespace.as_deref());
    SessionKey(method(tls(key, &vault.tls), &vault.auth, request, env).finish().to_string())
}

/// The key of a provider session: what it is, issuer, client, what is asked for, and whom to believe
/// there.
#[must_use]
pub fn provider_key(provider: &Provider) -> SessionKey {
    let scopes: BTreeSet<&str> = provider.scopes.iter().map(String::as_str).collect();
    let key = KeyBuilder::new("provider session", 1)
        .part("issuer", provider.issuer.as_str())
        .part("clientId", &provider.client_id)
        .list("scopes", scopes)
        .part("kind", format!("{:?}", provider.kind))
        .optional("certificateAuthority", provider.certificate_authority.as_ref().map(pem));
    SessionKey(key.finish().to_string())
}

/// What a person accepts with a provider that only a flag names.
#[must_use]
pub fn provider_identity(provider: &Provider) -> String {
    // Which file a log-in would send is the settings' word as well.
    let secret = provider.client_secret_file.as_ref().map(|file| file.as_os_str().as_encoded_bytes());
    let key = KeyBuilder::new("provider", 1)
        .part("session", provider_key(provider).0)
        .optional("clientSecretFile", secret);
    format!("{} {}", provider.issuer, key.finish())
}

/// What a person accepts with a Vault that only a flag names: its address, whom to believe there, and
/// what is sent there to log in.
#[must_use]
pub fn vault_identity(vault: &VaultSettings) -> String {
    let key = KeyBuilder::new("vault", 1)
        .list("addresses", vault.addresses.iter().map(ToString::to_string))
        .optional("namespace", vault.namespace.as_deref())
        // Which file or identity a log-in would send is the settings' word as well.
        .part("auth", format!("{:?}", vault.auth));
    format!("{} {}", vault.address, tls(key, &vault.tls).finish())
}

/// The key of a token: the profile, its source with every choice, the session that it comes by, and
/// the cluster it is for. `cluster` none is a token that is not bound yet.
#[must_use]
pub fn token_key(
    request: &Request,
    session: Option<&SessionKey>,
    cluster: Option<&Cluster>,
    env: &Env,
) -> CacheKey {
    let takes_found = request.vault.as_ref().is_some_and(|vault| vault.auth == AuthMethod::Token);
    let key = KeyBuilder::new("token", 1)
        .part("profile", &request.profile_label)
        .optional("session", session.map(|key| &key.0))
        // Whoever lays another Vault token into the environment or `~/.vault-token` is another caller.
        .optional("found", takes_found.then(|| found_token::fingerprint(env)).flatten())
        .list("pins", request.pins.iter().map(pin));
    bound_to(source(key, request, env), cluster).finish()
}

/// Security: the cluster is its CA where there is one, else host, port and path, by the rule that
/// `cluster::Cluster::is` follows; whoever switches verification off has an entry of its own.
fn bound_to(key: KeyBuilder, cluster: Option<&Cluster>) -> KeyBuilder {
    let Some(cluster) = cluster else { return key.optional("cluster", None::<&str>) };
    let server = cluster.authorities.is_empty() || cluster.insecure;
    key.part("cluster", if cluster.insecure { "insecure" } else { "verified" })
        .list("authorities", &cluster.authorities)
        .optional("server", server.then_some(&cluster.server))
        .optional("tlsServerName", cluster.tls_server_name.as_deref())
}

fn pin(pin: &ClusterPin) -> Vec<u8> {
    let authority = pin.certificate_authority.as_ref().map(pem);
    let key = KeyBuilder::new("pin", 1)
        .part("server", pin.server.as_str())
        .optional("certificateAuthority", authority)
        .part("insecure", [u8::from(pin.insecure_skip_tls_verify)])
        .part("withoutClusterInfo", [u8::from(pin.without_cluster_info)]);
    key.finish().as_bytes().to_vec()
}

fn source(key: KeyBuilder, request: &Request, env: &Env) -> KeyBuilder {
    let source = &request.source;
    let key = key.part("source", source.name());
    match source {
        SourceSettings::VaultKubernetes(engine) => key
            .part("mount", &engine.mount)
            .part("role", &engine.role)
            .optional("namespace", engine.namespace.as_deref())
            .optional("ttl", engine.ttl.map(|ttl| ttl.as_secs().to_be_bytes()))
            .list("audiences", &engine.audiences)
            .part("clusterRoleBinding", [u8::from(engine.cluster_role_binding)]),
        SourceSettings::VaultKv(document) => key
            .part("mount", &document.mount)
            .part("path", &document.path)
            .part("field", &document.field)
            .optional("cluster", document.cluster.as_deref())
            .optional("team", document.team.as_deref()),
        SourceSettings::VaultIdentity(role) => key.part("role", &role.role),
        SourceSettings::TokenExchange(settings) => exchange(key, settings, request, env),
        SourceSettings::Oidc(oidc) => {
            let token = request.provider().map(|(_, provider)| format!("{:?}", provider.token));
            key.part("provider", oidc.provider.as_str()).optional("token", token)
        }
        SourceSettings::VaultOidc(oidc) => key.part("handedOn", format!("{:?}", oidc.token)),
        SourceSettings::TokenRequest(_) => {
            // Nothing of these kinds is kept by this version; their settings are all of the answer.
            key.part("settings", format!("{source:?}"))
        }
    }
}

/// Every field changes the answer, and so does whose token is exchanged.
fn exchange(key: KeyBuilder, settings: &TokenExchange, request: &Request, env: &Env) -> KeyBuilder {
    let subject =
        subject_of(settings, request).and_then(|(name, identity)| who(name, &identity, request, env));
    let url = |url: &Option<url::Url>| url.as_ref().map(url::Url::to_string);
    let parameters = settings.parameters.iter().flat_map(|(name, value)| [name, value]);
    key.part("preset", settings.preset.name())
        .optional("host", url(&settings.host))
        .optional("issuer", settings.issuer.as_ref().map(crate::config::Issuer::as_str))
        .optional("tokenEndpoint", url(&settings.token_endpoint))
        .optional("identity", subject)
        .optional("clientId", settings.client_id.as_deref())
        .optional(
            "clientSecretFile",
            settings.client_secret_file.as_ref().map(|file| file.as_os_str().as_encoded_bytes()),
        )
        .part("clientAuthentication", format!("{:?}", settings.client_authentication))
        .optional("accountId", settings.account_id.as_deref())
        .optional("tenantId", settings.tenant_id.as_deref())
        .optional("authorityHost", url(&settings.authority_host))
        .optional("serviceAccount", settings.service_account.as_deref())
        .list("scopes", &settings.scopes)
        .list("audiences", &settings.audiences)
        .optional("subjectTokenType", settings.subject_token_type.as_deref())
        .optional("requestedTokenType", settings.requested_token_type.as_deref())
        .part("result", format!("{:?}", settings.result))
        .list("parameters", parameters)
        .optional("certificateAuthority", settings.certificate_authority.as_ref().map(pem))
}

/// Whose token an exchange hands over: an identity of the settings, or the file that the environment
/// names in its place.
#[must_use]
pub fn subject_of<'a>(
    settings: &'a TokenExchange,
    request: &Request,
) -> Option<(Option<&'a Name>, Identity)> {
    if let Some(name) = &settings.identity {
        return Some((Some(name), identity_of(Some(name), request)?));
    }
    let path = settings.federated_token_file.clone()?;
    Some((None, Identity::Kubernetes { audience: None, path }))
}

fn tls(key: KeyBuilder, tls: &TlsSettings) -> KeyBuilder {
    key.list("certificateAuthorities", tls.certificate_authorities.iter().map(pem))
        .optional(
            "clientCertificate",
            tls.client_certificate.as_ref().map(|(certificate, _)| pem(certificate)),
        )
        .optional("serverName", tls.server_name.as_deref())
        .part("skipVerify", [u8::from(tls.skip_verify)])
}

/// A file by its name: its content is read when it is needed.
fn pem(pem: &Pem) -> Vec<u8> {
    match pem {
        Pem::Inline(text) => KeyBuilder::new("inline", 1).part("pem", text).finish().as_bytes().to_vec(),
        Pem::File(path) | Pem::Folder(path) => path.as_os_str().as_encoded_bytes().to_vec(),
    }
}

fn method(key: KeyBuilder, auth: &AuthMethod, request: &Request, env: &Env) -> KeyBuilder {
    let key = key.part("method", auth.name());
    match auth {
        // A session that `login` made is found again whatever token lies about meanwhile.
        AuthMethod::Token => key,
        AuthMethod::Userpass { mount, username } | AuthMethod::Ldap { mount, username } => {
            key.part("mount", mount).optional("username", username.as_deref())
        }
        AuthMethod::Approle { mount, role_id, .. } => key.part("mount", mount).part("roleId", role_id),
        AuthMethod::Kubernetes { mount, role, identity } => {
            let caller = workload(identity.as_ref(), request, env);
            key.part("mount", mount).part("role", role).optional("identity", caller)
        }
        AuthMethod::Jwt { mount, role, from } => {
            let key = key.part("mount", mount).optional("role", role.as_deref());
            match from {
                JwtOrigin::Identity(name) => key.optional("identity", workload(Some(name), request, env)),
                JwtOrigin::Provider(name) => {
                    let provider = request.settings.providers.get(name).map(provider_key);
                    key.part("provider", name.as_str()).optional("session", provider.map(|key| key.0))
                }
            }
        }
        AuthMethod::Oidc { mount, role } => key.part("mount", mount).optional("role", role.as_deref()),
        AuthMethod::Cert { mount, role, pair } => key
            .part("mount", mount)
            .optional("role", role.as_deref())
            .optional("certificate", pair.as_ref().map(|(certificate, _)| pem(certificate))),
    }
}

/// Whose token a workload would log in with; none where it cannot be read now.
fn workload(name: Option<&Name>, request: &Request, env: &Env) -> Option<String> {
    who(name, &identity_of(name, request)?, request, env)
}

fn who(name: Option<&Name>, identity: &Identity, request: &Request, env: &Env) -> Option<String> {
    let fingerprint = identity::fingerprint(name, identity, env).ok()?;
    let issuer = match identity {
        // Whose identity a Vault issues depends on who is logged in to it.
        Identity::VaultIdentity { vault, .. } => {
            request.vault_named(vault).map(|vault| session_key(&vault, request, env).0)
        }
        Identity::Oidc { provider } => {
            request.settings.providers.get(provider).map(|found| provider_key(found).0)
        }
        _ => None,
    };
    Some(format!("{} {}", fingerprint.as_str(), issuer.unwrap_or_default()))
}

/// An identity of the settings; the pod's own where none is named.
#[must_use]
pub fn identity_of(name: Option<&Name>, request: &Request) -> Option<Identity> {
    match name {
        Some(name) => request.settings.identities.get(name).cloned(),
        None => Some(Identity::of_this_pod()),
    }
}
