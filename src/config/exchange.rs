//! `tokenExchange` as it is written, made into settings that can be asked with: which preset, what it
//! needs, and what has no meaning with it. What a preset sends is the source's to know.

use std::collections::BTreeMap;

use super::document::ExchangeSource;
use super::problem::{Alternatives, EntryKind, SettingsError};
use super::providers::{Issuer, Provider, ProviderKind, ProviderToken};
use super::sources::{Preset, TokenExchange};
use super::validate::{Validation, audiences, scopes};

/// Resources of Azure by a word that people remember; Microsoft's documentation names the ids.
const ENTRA_SCOPES: [(&str, &str); 3] = [
    ("databricks", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"),
    ("aks", "6dae42f8-4368-4678-94ff-3960e28e3630/.default"),
    ("keyvault", "https://vault.azure.net/.default"),
];

/// The client that Databricks registers for programs that people run; see `credentials/u2m` of
/// databricks-sdk-go.
const DATABRICKS_CLI: &str = "databricks-cli";

/// Form fields that have a field of their own in the settings.
const RESERVED: [&str; 11] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "audience",
    "scope",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "refresh_token",
];

/// Fields that mean nothing where a person logs in.
const OF_AN_EXCHANGE: [&str; 6] =
    ["tokenEndpoint", "audiences", "subjectTokenType", "requestedTokenType", "result", "parameters"];

impl Preset {
    /// The fields that mean nothing with it.
    fn meaningless(self) -> &'static [&'static str] {
        match self {
            Self::Generic | Self::Keycloak | Self::Dex | Self::Okta => {
                &["host", "accountId", "tenantId", "authorityHost", "serviceAccount"]
            }
            Self::Databricks => &["issuer", "tenantId", "authorityHost", "serviceAccount"],
            Self::Entra => &[
                "host",
                "issuer",
                "accountId",
                "serviceAccount",
                "audiences",
                "subjectTokenType",
                "requestedTokenType",
                "result",
            ],
            Self::Google => &["issuer", "accountId", "tenantId", "authorityHost"],
        }
    }
}

impl Validation<'_> {
    /// Validates an exchange that stands at `location`.
    pub(super) fn exchange(
        &mut self,
        fields: ExchangeSource,
        location: super::yaml::Location,
    ) -> Result<TokenExchange, SettingsError> {
        let place = self.at(location);
        let wrong = |problem: String| Err(SettingsError::BadValue { place: place.clone(), problem });
        let preset = match &fields.preset {
            None if fields.issuer.is_none() && fields.token_endpoint.is_none() => {
                let problem = "one of `preset`, `issuer` and `tokenEndpoint` is needed";
                return Err(SettingsError::Combination { place, problem });
            }
            None => Preset::Generic,
            Some(word) => {
                let known = Preset::ALL.map(Preset::name);
                Preset::named(&word.value.0).ok_or_else(|| SettingsError::Unknown {
                    place: self.at(word.at),
                    what: "preset",
                    word: word.value.0.clone(),
                    instead: Box::new(Alternatives::to(&word.value.0, known)),
                })?
            }
        };
        let said = said(&fields);
        let is_said = |field: &str| said.contains(&field);
        if let Some(field) = preset.meaningless().iter().find(|field| is_said(field)) {
            return wrong(format!("`{field}` has no meaning with the preset `{}`", preset.name()));
        }
        if let Some(problem) = excluding(&is_said) {
            return Err(SettingsError::Combination { place, problem });
        }
        if let Some(missing) = missing(preset, &fields, &is_said) {
            return wrong(format!("the preset `{}` needs {missing}", preset.name()));
        }
        if is_for_a_person(preset, &is_said)
            && let Some(field) = OF_AN_EXCHANGE.into_iter().find(|field| is_said(field))
        {
            return wrong(format!("`{field}` has no meaning where a person logs in to Databricks"));
        }
        if let Some((name, _)) =
            fields.parameters.iter().find(|(name, _)| RESERVED.contains(&name.0.as_str()))
        {
            return wrong(format!("`parameters` may not hold `{}`: it has a field of its own", name.0));
        }
        let mut scopes = scopes(fields.scopes);
        if preset == Preset::Entra {
            for scope in &mut scopes {
                *scope = match entra_scope(scope) {
                    Ok(scope) => scope,
                    Err(problem) => return wrong(problem),
                };
            }
        }
        let parameters: BTreeMap<_, _> =
            fields.parameters.into_iter().map(|(name, value)| (name.0, value)).collect();
        let (host, account_id) = (fields.host.map(|host| host.0), fields.account_id.map(|id| id.0));
        let certificate_authority = fields.certificate_authority.map(|pem| self.pem(pem));
        let person = host.as_ref().filter(|_| is_for_a_person(preset, &is_said)).map(|host| {
            Box::new(Provider {
                named_by: self.origin.named_by,
                kind: ProviderKind::Databricks { account: account_id.clone() },
                issuer: Issuer { text: host.as_str().trim_end_matches('/').to_owned(), url: host.clone() },
                client_id: DATABRICKS_CLI.to_owned(),
                client_secret_file: None,
                scopes: of_a_person(&scopes),
                redirect_port: None,
                token: ProviderToken::Access,
                certificate_authority: certificate_authority.clone(),
            })
        });
        Ok(TokenExchange {
            preset,
            person,
            host,
            issuer: fields.issuer,
            token_endpoint: fields.token_endpoint.map(|endpoint| endpoint.0),
            identity: fields.identity.map(|identity| self.mention(EntryKind::Identity, identity)),
            federated_token_file: None,
            client_id: fields.client_id.map(|id| id.0),
            client_secret_file: fields.client_secret_file.map(|path| self.path(path)),
            client_authentication: fields.client_authentication.map(Into::into),
            account_id,
            tenant_id: fields.tenant_id.map(|id| id.0),
            authority_host: fields.authority_host.map(|host| host.0),
            service_account: fields.service_account.map(|account| account.0),
            scopes,
            audiences: audiences(fields.audiences),
            subject_token_type: fields.subject_token_type.map(|kind| kind.0),
            requested_token_type: fields.requested_token_type.map(|kind| kind.0),
            result: fields.result.map(Into::into),
            parameters,
            certificate_authority,
        })
    }
}

/// Whether a person logs in, as nobody else is named.
fn is_for_a_person(preset: Preset, is_said: &impl Fn(&str) -> bool) -> bool {
    preset == Preset::Databricks && !["identity", "clientId"].into_iter().any(is_said)
}

/// What a person is asked for: a session that can be renewed, for these scopes or for everything.
fn of_a_person(scopes: &[String]) -> Vec<String> {
    let wanted = if scopes.is_empty() { vec!["all-apis".to_owned()] } else { scopes.to_vec() };
    wanted.into_iter().chain(["offline_access".to_owned()]).collect()
}

/// The fields that are there.
fn said(fields: &ExchangeSource) -> Vec<&'static str> {
    [
        ("host", fields.host.is_some()),
        ("issuer", fields.issuer.is_some()),
        ("tokenEndpoint", fields.token_endpoint.is_some()),
        ("identity", fields.identity.is_some()),
        ("clientId", fields.client_id.is_some()),
        ("clientSecretFile", fields.client_secret_file.is_some()),
        ("clientAuthentication", fields.client_authentication.is_some()),
        ("accountId", fields.account_id.is_some()),
        ("tenantId", fields.tenant_id.is_some()),
        ("authorityHost", fields.authority_host.is_some()),
        ("serviceAccount", fields.service_account.is_some()),
        ("audiences", !fields.audiences.is_empty()),
        ("subjectTokenType", fields.subject_token_type.is_some()),
        ("requestedTokenType", fields.requested_token_type.is_some()),
        ("result", fields.result.is_some()),
        ("parameters", !fields.parameters.is_empty()),
    ]
    .into_iter()
    .filter_map(|(field, is_there)| is_there.then_some(field))
    .collect()
}

/// What goes with no preset together, or not alone.
fn excluding(is_said: &impl Fn(&str) -> bool) -> Option<&'static str> {
    if is_said("issuer") && is_said("tokenEndpoint") {
        Some("`issuer` and `tokenEndpoint` exclude each other")
    } else if is_said("clientSecretFile") && !is_said("clientId") {
        Some("`clientSecretFile` needs `clientId`")
    } else if is_said("clientAuthentication") && !is_said("clientSecretFile") {
        Some("`clientAuthentication` needs `clientSecretFile`")
    } else {
        None
    }
}

/// What a preset cannot do without.
fn missing(preset: Preset, fields: &ExchangeSource, is_said: &impl Fn(&str) -> bool) -> Option<&'static str> {
    let has_endpoint = is_said("issuer") || is_said("tokenEndpoint");
    match preset {
        Preset::Generic | Preset::Keycloak | Preset::Dex | Preset::Okta if !has_endpoint => {
            Some("`issuer` or `tokenEndpoint`")
        }
        Preset::Generic | Preset::Keycloak | Preset::Dex | Preset::Okta | Preset::Google
            if !is_said("identity") =>
        {
            Some("`identity`: whose token is exchanged")
        }
        Preset::Keycloak | Preset::Dex | Preset::Okta if !is_said("clientSecretFile") => {
            Some("`clientId` and `clientSecretFile`: no public client may exchange tokens there")
        }
        Preset::Dex if !fields.parameters.iter().any(|(name, _)| name.0 == "connector_id") => {
            Some("`parameters: {connector_id: …}`: the connector that knows the subject's issuer")
        }
        Preset::Databricks if !is_said("host") => {
            Some("`host`: the address of the workspace or of the account")
        }
        Preset::Databricks | Preset::Entra if is_said("identity") && is_said("clientSecretFile") => {
            Some("either `identity` or `clientSecretFile`, not both")
        }
        Preset::Databricks if is_said("clientId") && !is_said("identity") && !is_said("clientSecretFile") => {
            Some(
                "`identity` (federation) or `clientSecretFile` beside `clientId`; without all three a person logs in",
            )
        }
        Preset::Entra if fields.scopes.len() != 1 => {
            Some("one of `scopes`: `databricks`, `aks`, `keyvault`, or what ends with `/.default`")
        }
        Preset::Google
            if fields.audiences.len() != 1
                || fields.audiences.iter().any(|audience| !audience.0.starts_with("//")) =>
        {
            Some(
                "one of `audiences`, the provider's full name: `//iam.googleapis.com/projects/NUMBER/locations/\
                 global/workloadIdentityPools/POOL/providers/PROVIDER`",
            )
        }
        _ => None,
    }
}

fn entra_scope(scope: &str) -> Result<String, String> {
    if let Some((_, full)) = ENTRA_SCOPES.iter().find(|(word, _)| *word == scope) {
        return Ok((*full).to_owned());
    }
    if scope.ends_with("/.default") {
        return Ok(scope.to_owned());
    }
    Err(format!(
        "`{}` is no scope that Entra gives a workload: write `databricks`, `aks`, `keyvault`, or a resource with \
         `/.default` at its end",
        crate::error::printable(scope)
    ))
}
