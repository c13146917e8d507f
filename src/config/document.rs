//! The settings file as it is written: one struct for each mapping, strict, with the kind of a union
//! as its key. What single values must look like is said by their types; what they mean together is
//! the business of `validate`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::Name;
use super::problem::{Alternatives, Place, SettingsError};
use super::providers::{Issuer, ProviderToken};
use super::sources::{ResultField, SecretPlace};
use super::types::{Journaling, Store, VaultAddress};
use super::value::{
    AccountName, ApiVersion, Audience, ClusterName, ConfigKind, DocumentPath, FieldName, FilePath, Lifetime,
    Mount, Namespace, PathPart, PemText, Port, Role, Scope, ServerAddress, ServerName, TeamName, Text,
    VariableName, VaultNamespace, WebAddress,
};
use super::yaml::{self, Cause, Location, Node, Spanned, Twice};

/// A name, and where it stands, for the message that it names nothing.
pub(super) type Reference = Spanned<Name>;

/// A key without a value (`vaults:` with everything below it commented out) is an empty one.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// Makes the structs of mappings: strict, camelCase.
macro_rules! mappings {
    ($($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })+) => {$(
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub(super) struct $name { $($(#[$meta])* pub(super) $field: $type,)* }
    )+};
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: ConfigKind,
    pub(super) store: Option<StoreWord>,
    pub(super) journal: Option<JournalWord>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) vaults: BTreeMap<Name, Spanned<Vault>>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) providers: BTreeMap<Name, ProviderEntry>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) identities: BTreeMap<Name, IdentityEntry>,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) profiles: BTreeMap<Name, ProfileEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum StoreWord {
    Auto,
    Sealed,
    Plain,
    None,
}

/// YAML's own words for it are taken as well.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum JournalWord {
    #[serde(alias = "true")]
    On,
    #[serde(alias = "false")]
    Off,
}

impl From<JournalWord> for Journaling {
    fn from(word: JournalWord) -> Self {
        match word {
            JournalWord::On => Self::On,
            JournalWord::Off => Self::Off,
        }
    }
}

impl From<StoreWord> for Store {
    fn from(word: StoreWord) -> Self {
        match word {
            StoreWord::Auto => Self::Auto,
            StoreWord::Sealed => Self::Sealed,
            StoreWord::Plain => Self::Plain,
            StoreWord::None => Self::None,
        }
    }
}

mappings! {
    Vault {
        address: VaultAddress,
        #[serde(default, deserialize_with = "or_empty")]
        addresses: Vec<VaultAddress>,
        namespace: Option<VaultNamespace>,
        certificate_authority: Option<PemText>,
        client_certificate: Option<PemText>,
        client_key: Option<PemText>,
        tls_server_name: Option<ServerName>,
        auth: Option<Spanned<Auth>>,
    }
    PasswordAuth {
        mount: Option<Mount>,
        username: Option<Text>,
    }
    ApproleAuth {
        mount: Option<Mount>,
        role_id: Text,
        secret_id_file: Option<FilePath>,
        #[serde(default)]
        secret_id_wrapped: bool,
    }
    KubernetesAuth {
        mount: Option<Mount>,
        role: Role,
        identity: Option<Reference>,
    }
    JwtAuth {
        mount: Option<Mount>,
        role: Option<Role>,
        identity: Option<Reference>,
        provider: Option<Reference>,
    }
    OidcAuth {
        mount: Option<Mount>,
        role: Option<Role>,
    }
    CertAuth {
        mount: Option<Mount>,
        role: Option<Role>,
        certificate: Option<PemText>,
        key: Option<PemText>,
    }
    ProviderEntry {
        issuer: Issuer,
        client_id: Text,
        client_secret_file: Option<FilePath>,
        #[serde(default, deserialize_with = "or_empty")]
        scopes: Vec<Scope>,
        redirect_port: Option<Port>,
        token: Option<TokenWord>,
        certificate_authority: Option<PemText>,
    }
    FileIdentity { path: FilePath, }
    EnvIdentity { variable: VariableName, }
    GithubIdentity { audience: Option<Audience>, }
    GitlabIdentity { variable: Option<VariableName>, }
    KubernetesIdentity { audience: Option<Audience>, path: Option<FilePath>, }
    VaultIdentityOrigin { vault: Reference, role: Role, }
    OidcIdentity { provider: Reference, }
    AskedIdentity { audience: Option<Audience>, }
    PipelinesIdentity { service_connection: Option<Text>, }
    TerraformIdentity { tag: Option<VariableName>, }
    SpiffeIdentity { path: FilePath, audience: Option<Audience>, }
    CommandIdentity { command: Vec<Text>, }
    ProfileEntry {
        cluster: Option<Pins>,
        source: Source,
    }
    Pin {
        server: ServerAddress,
        certificate_authority: Option<PemText>,
        insecure_skip_tls_verify: Option<Allow>,
        without_cluster_info: Option<Allow>,
    }
    KubernetesSource {
        vault: Option<Reference>,
        mount: Option<Mount>,
        role: Role,
        namespace: Option<Namespace>,
        ttl: Option<Lifetime>,
        #[serde(default, deserialize_with = "or_empty")]
        audiences: Vec<Audience>,
        #[serde(default)]
        cluster_role_binding: bool,
    }
    KvSource {
        vault: Option<Reference>,
        mount: Option<Mount>,
        path: Option<DocumentPath>,
        field: Option<FieldName>,
        cluster: Option<ClusterName>,
        team: Option<TeamName>,
    }
    IdentitySource { vault: Option<Reference>, role: Role, }
    OidcEntry { provider: Option<Reference>, vault: Option<Reference>, token: Option<TokenWord>, }
    ExchangeSource {
        preset: Option<Spanned<Text>>,
        host: Option<WebAddress>,
        issuer: Option<Issuer>,
        token_endpoint: Option<WebAddress>,
        identity: Option<Reference>,
        client_id: Option<Text>,
        client_secret_file: Option<FilePath>,
        client_authentication: Option<SecretPlaceWord>,
        account_id: Option<PathPart>,
        tenant_id: Option<PathPart>,
        authority_host: Option<WebAddress>,
        service_account: Option<PathPart>,
        #[serde(default, deserialize_with = "or_empty")]
        scopes: Vec<Scope>,
        #[serde(default, deserialize_with = "or_empty")]
        audiences: Vec<Audience>,
        subject_token_type: Option<Text>,
        requested_token_type: Option<Text>,
        result: Option<ResultWord>,
        #[serde(default, deserialize_with = "or_empty")]
        parameters: BTreeMap<Text, String>,
        certificate_authority: Option<PemText>,
    }
    RequestSource {
        context: Text,
        namespace: Namespace,
        service_account: AccountName,
        #[serde(default, deserialize_with = "or_empty")]
        audiences: Vec<Audience>,
        ttl: Option<Lifetime>,
        uid: Option<Text>,
        bound_object: Option<BoundWord>,
    }
    Nothing {}
}

/// `auth: token`, `auth: {token: }` and `auth: {token: {}}` are the same.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Auth {
    Token(#[expect(dead_code, reason = "read so that it must be empty")] Option<Nothing>),
    Userpass(Option<PasswordAuth>),
    Ldap(Option<PasswordAuth>),
    Approle(ApproleAuth),
    Kubernetes(KubernetesAuth),
    Jwt(JwtAuth),
    Oidc(Option<OidcAuth>),
    Cert(Option<CertAuth>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum TokenWord {
    Id,
    Access,
}

impl From<TokenWord> for ProviderToken {
    fn from(word: TokenWord) -> Self {
        match word {
            TokenWord::Id => Self::Id,
            TokenWord::Access => Self::Access,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum IdentityEntry {
    File(FileIdentity),
    Env(EnvIdentity),
    GithubActions(Option<GithubIdentity>),
    Gitlab(Option<GitlabIdentity>),
    Kubernetes(Option<KubernetesIdentity>),
    VaultIdentity(VaultIdentityOrigin),
    Oidc(OidcIdentity),
    Circleci(Option<AskedIdentity>),
    Buildkite(Option<AskedIdentity>),
    AzurePipelines(Option<PipelinesIdentity>),
    Bitbucket(#[expect(dead_code, reason = "read so that it must be empty")] Option<Nothing>),
    TerraformCloud(Option<TerraformIdentity>),
    Spiffe(SpiffeIdentity),
    Command(Spanned<CommandIdentity>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Source {
    VaultKubernetes(KubernetesSource),
    VaultKv(KvSource),
    VaultIdentity(IdentitySource),
    Oidc(Spanned<OidcEntry>),
    TokenExchange(Box<Spanned<ExchangeSource>>),
    TokenRequest(RequestSource),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SecretPlaceWord {
    Basic,
    Post,
}

impl From<SecretPlaceWord> for SecretPlace {
    fn from(word: SecretPlaceWord) -> Self {
        match word {
            SecretPlaceWord::Basic => Self::Basic,
            SecretPlaceWord::Post => Self::Post,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum ResultWord {
    AccessToken,
    IdToken,
}

impl From<ResultWord> for ResultField {
    fn from(word: ResultWord) -> Self {
        match word {
            ResultWord::AccessToken => Self::AccessToken,
            ResultWord::IdToken => Self::IdToken,
        }
    }
}

/// What each token of a `tokenRequest` hangs on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum BoundWord {
    Own,
}

/// A word that is harder to write by mistake than `true`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Allow {
    Allow,
}

/// `cluster:` of a profile: one pin, or a list of them.
pub(super) struct Pins(pub(super) Vec<Pin>);

impl<'de> Deserialize<'de> for Pins {
    /// By hand: an untagged enum would lose the place of a mistake in a pin.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> serde::de::Visitor<'de> for OneOrMore {
            type Value = Pins;
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a cluster or a list of clusters")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Pins, A::Error> {
                Pin::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(|pin| Pins(vec![pin]))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Pins, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(Pins)
            }
        }
        from.deserialize_any(OneOrMore)
    }
}

impl Document {
    /// Reads one document. `None`: the file is empty but for comments.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Option<Self>, SettingsError> {
        let empty = |line: &str| line.is_empty() || line.starts_with('#') || line == "---";
        if text.trim_start_matches('\u{feff}').lines().map(str::trim).all(empty) {
            return Ok(None);
        }
        let read = Node::parse(text, Twice::Refused).and_then(|node| yaml::read(&node));
        read.map(Some).map_err(|error| explain(file, error))
    }
}

/// The place that a location in a file means.
pub(super) fn place(file: &Path, location: Location) -> Place {
    Place { file: file.to_owned(), line: location.line, column: location.column }
}

/// What is wrong with a text as one of our errors; values are not repeated, as they may be keys of a
/// certificate.
pub(super) fn explain(file: &Path, error: yaml::Error) -> SettingsError {
    let place = place(file, error.at());
    let unknown = |what: &'static str, word: String, expected: &[&'static str], place| {
        let instead = Box::new(Alternatives::to(&word, expected.iter().copied()));
        SettingsError::Unknown { place, what, word, instead }
    };
    match error.cause {
        Cause::Field(field, expected) => unknown("field", field, expected, place),
        Cause::Kind(kind, expected) => unknown("kind", kind, expected, place),
        Cause::Missing(field) => SettingsError::MissingField { field: field.to_owned(), place },
        Cause::Twice(key) => SettingsError::GivenTwice { key, place },
        Cause::TwoKinds => SettingsError::TwoKinds { place },
        Cause::Value(problem) => SettingsError::BadValue { problem, place },
        Cause::Expected(expected) => SettingsError::WrongType { place, expected },
        Cause::SecondDocument => {
            SettingsError::Syntax { cause: "a second document begins here".to_owned(), place }
        }
        Cause::TooLarge => {
            SettingsError::Syntax { cause: "it is too deep, or its aliases are too many".to_owned(), place }
        }
        Cause::Syntax(cause) => SettingsError::Syntax { cause, place },
    }
}
