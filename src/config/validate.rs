//! From one settings file as it is written to the entries that the program uses: defaults, paths,
//! and what fields mean together. References are only collected here; they count in the merged whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::{
    Auth, Document, IdentityEntry, OidcEntry, Pin, ProfileEntry, ProviderEntry, Reference, Source, Vault,
    place,
};
use super::problem::{EntryKind, Place, SettingsError};
use super::providers::{Provider, ProviderKind};
use super::read::Owner;
use super::sources::{
    OidcSource, SourceSettings, TokenRequestSource, VaultIdentity, VaultKubernetes, VaultKv, VaultOidc,
};
use super::types::{
    AuthMethod, ClusterPin, Identity, Journaling, JwtOrigin, NamedBy, Pem, Profile, Settings, Store,
    TlsSettings, VaultSettings,
};
use super::value::{Audience, FilePath, Mount, PemText, Scope};
use super::{Name, document};

/// Mount of the Kubernetes engine where none is said.
pub(super) const KUBERNETES_MOUNT: &str = "kubernetes";
/// Mount of the KV engine where none is said.
pub(super) const KV_MOUNT: &str = "secret";
/// Path of a KV document where none is said: where the rotation controller writes.
pub(super) const KV_PATH: &str = "service-account-tokens/{cluster}/{team}";
/// Field of a KV document where none is said.
pub(super) const KV_FIELD: &str = "token";
/// The variable that GitLab's documentation names for Vault.
const GITLAB_VARIABLE: &str = "VAULT_ID_TOKEN";
/// Where Kubernetes mounts a pod's token.
pub(super) const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where a document was found.
pub(super) struct Origin<'a> {
    pub(super) file: &'a Path,
    pub(super) home: Option<&'a Path>,
    pub(super) named_by: NamedBy,
    /// Whose word the file is.
    pub(super) owner: Owner,
}

/// One entry's mention of another.
#[derive(Debug, Clone)]
pub(super) struct Mention {
    pub(super) kind: EntryKind,
    pub(super) name: Name,
    pub(super) place: Place,
}

/// What one file says.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) store: Option<Store>,
    pub(super) journal: Option<Journaling>,
    pub(super) entries: Settings,
    /// The mentions of each entry. They go where the entry goes: one that is replaced needs nothing.
    pub(super) mentions: BTreeMap<(EntryKind, Name), Vec<Mention>>,
}

/// Validates a document.
pub(super) fn validate(document: Document, origin: &Origin<'_>) -> Result<Reading, SettingsError> {
    let mut validation = Validation { origin, mentions: Vec::new() };
    let mut reading = Reading { store: document.store.map(Store::from), ..Reading::default() };
    // Security: a kubeconfig can name a settings file by a flag, and must not hide what it asks for.
    if origin.named_by != NamedBy::Flag {
        reading.journal = document.journal.map(Journaling::from);
    }
    for (name, entry) in document.vaults {
        let vault = validation.vault(&name, entry)?;
        reading.entries.vaults.insert(name.clone(), vault);
        reading.mentions.insert((EntryKind::Vault, name), std::mem::take(&mut validation.mentions));
    }
    for (name, entry) in document.providers {
        reading.entries.providers.insert(name, validation.provider(entry));
    }
    for (name, entry) in document.identities {
        let identity = validation.identity(entry)?;
        reading.entries.identities.insert(name.clone(), identity);
        reading.mentions.insert((EntryKind::Identity, name), std::mem::take(&mut validation.mentions));
    }
    for (name, entry) in document.profiles {
        let profile = validation.profile(&name, entry)?;
        reading.entries.profiles.insert(name.clone(), profile);
        reading.mentions.insert((EntryKind::Profile, name), std::mem::take(&mut validation.mentions));
    }
    Ok(reading)
}

pub(super) struct Validation<'a> {
    pub(super) origin: &'a Origin<'a>,
    mentions: Vec<Mention>,
}

impl Validation<'_> {
    pub(super) fn at(&self, location: super::yaml::Location) -> Place {
        place(self.origin.file, location)
    }

    pub(super) fn mention(&mut self, kind: EntryKind, reference: Reference) -> Name {
        let place = self.at(reference.at);
        self.mentions.push(Mention { kind, name: reference.value.clone(), place });
        reference.value
    }

    pub(super) fn path(&self, FilePath(text): FilePath) -> PathBuf {
        self.resolve(&text)
    }

    /// `~/` is the person's home; what is relative is so to the file that holds it.
    fn resolve(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.origin.home) {
            (Some(beneath), Some(home)) => home.join(beneath),
            _ => self.origin.file.parent().unwrap_or(Path::new("")).join(text),
        }
    }

    pub(super) fn pem(&self, PemText(text): PemText) -> Pem {
        if text.contains("-----BEGIN ") { Pem::Inline(text) } else { Pem::File(self.resolve(&text)) }
    }

    fn pair(
        &self,
        certificate: Option<PemText>,
        key: Option<PemText>,
        location: super::yaml::Location,
        problem: &'static str,
    ) -> Result<Option<(Pem, Pem)>, SettingsError> {
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((self.pem(certificate), self.pem(key)))),
            (None, None) => Ok(None),
            _ => Err(SettingsError::Combination { place: self.at(location), problem }),
        }
    }

    fn vault(
        &mut self,
        name: &Name,
        entry: super::yaml::Spanned<Vault>,
    ) -> Result<VaultSettings, SettingsError> {
        let location = entry.at;
        let entry = entry.value;
        let client_certificate = self.pair(
            entry.client_certificate,
            entry.client_key,
            location,
            "`clientCertificate` and `clientKey` go together",
        )?;
        Ok(VaultSettings {
            name: Some(name.clone()),
            named_by: self.origin.named_by,
            address: entry.address,
            addresses: entry.addresses,
            namespace: entry.namespace.map(|namespace| namespace.0),
            tls: TlsSettings {
                certificate_authorities: entry
                    .certificate_authority
                    .map(|pem| self.pem(pem))
                    .into_iter()
                    .collect(),
                client_certificate,
                server_name: entry.tls_server_name.map(|name| name.0),
                // Security: no settings file switches verification off.
                skip_verify: false,
            },
            auth: entry.auth.map_or(Ok(AuthMethod::Token), |auth| self.auth(auth))?,
        })
    }

    fn auth(&mut self, auth: super::yaml::Spanned<Auth>) -> Result<AuthMethod, SettingsError> {
        let location = auth.at;
        let combination = |place, problem| Err(SettingsError::Combination { place, problem });
        Ok(match auth.value {
            Auth::Token(_) => AuthMethod::Token,
            Auth::Userpass(fields) => {
                let (mount, username) = fields.map_or((None, None), |fields| (fields.mount, fields.username));
                AuthMethod::Userpass {
                    mount: mount_or(mount, "userpass"),
                    username: username.map(|name| name.0),
                }
            }
            Auth::Ldap(fields) => {
                let (mount, username) = fields.map_or((None, None), |fields| (fields.mount, fields.username));
                AuthMethod::Ldap { mount: mount_or(mount, "ldap"), username: username.map(|name| name.0) }
            }
            Auth::Approle(fields) => {
                if fields.secret_id_wrapped && fields.secret_id_file.is_none() {
                    return combination(self.at(location), "`secretIdWrapped` needs `secretIdFile`");
                }
                AuthMethod::Approle {
                    mount: mount_or(fields.mount, "approle"),
                    role_id: fields.role_id.0,
                    secret_id_file: fields.secret_id_file.map(|path| self.path(path)),
                    secret_id_wrapped: fields.secret_id_wrapped,
                }
            }
            Auth::Kubernetes(fields) => AuthMethod::Kubernetes {
                mount: mount_or(fields.mount, "kubernetes"),
                role: fields.role.0,
                identity: fields.identity.map(|identity| self.mention(EntryKind::Identity, identity)),
            },
            Auth::Jwt(fields) => {
                let from = match (fields.identity, fields.provider) {
                    (Some(identity), None) => {
                        JwtOrigin::Identity(self.mention(EntryKind::Identity, identity))
                    }
                    (None, Some(provider)) => {
                        JwtOrigin::Provider(self.mention(EntryKind::Provider, provider))
                    }
                    _ => {
                        return combination(self.at(location), "`jwt` needs either `identity` or `provider`");
                    }
                };
                AuthMethod::Jwt {
                    mount: mount_or(fields.mount, "jwt"),
                    role: fields.role.map(|role| role.0),
                    from,
                }
            }
            Auth::Oidc(fields) => {
                let (mount, role) = fields.map_or((None, None), |fields| (fields.mount, fields.role));
                AuthMethod::Oidc { mount: mount_or(mount, "oidc"), role: role.map(|role| role.0) }
            }
            Auth::Cert(None) => AuthMethod::Cert { mount: "cert".to_owned(), role: None, pair: None },
            Auth::Cert(Some(fields)) => {
                let problem = "`certificate` and `key` go together";
                let pair = self.pair(fields.certificate, fields.key, location, problem)?;
                let role = fields.role.map(|role| role.0);
                AuthMethod::Cert { mount: mount_or(fields.mount, "cert"), role, pair }
            }
        })
    }

    fn provider(&self, entry: ProviderEntry) -> Provider {
        Provider {
            named_by: self.origin.named_by,
            kind: ProviderKind::OpenId,
            issuer: entry.issuer,
            client_id: entry.client_id.0,
            client_secret_file: entry.client_secret_file.map(|path| self.path(path)),
            scopes: scopes(entry.scopes),
            redirect_port: entry.redirect_port.map(|port| port.0),
            token: entry.token.map(Into::into).unwrap_or_default(),
            certificate_authority: entry.certificate_authority.map(|pem| self.pem(pem)),
        }
    }

    fn identity(&mut self, entry: IdentityEntry) -> Result<Identity, SettingsError> {
        let audience = |fields: Option<document::AskedIdentity>| {
            fields.and_then(|fields| fields.audience).map(|audience| audience.0)
        };
        Ok(match entry {
            IdentityEntry::File(fields) => Identity::File { path: self.path(fields.path) },
            IdentityEntry::Env(fields) => Identity::Env { variable: fields.variable.0 },
            IdentityEntry::GithubActions(fields) => Identity::GithubActions {
                audience: fields.and_then(|fields| fields.audience).map(|audience| audience.0),
            },
            IdentityEntry::Gitlab(fields) => Identity::Gitlab {
                variable: fields
                    .and_then(|fields| fields.variable)
                    .map_or_else(|| GITLAB_VARIABLE.to_owned(), |variable| variable.0),
            },
            IdentityEntry::Kubernetes(fields) => {
                let (audience, path) = fields.map_or((None, None), |fields| (fields.audience, fields.path));
                Identity::Kubernetes {
                    audience: audience.map(|audience| audience.0),
                    path: path.map_or_else(|| PathBuf::from(POD_TOKEN), |path| self.path(path)),
                }
            }
            IdentityEntry::VaultIdentity(fields) => Identity::VaultIdentity {
                vault: self.mention(EntryKind::Vault, fields.vault),
                role: fields.role.0,
            },
            IdentityEntry::Oidc(fields) => {
                Identity::Oidc { provider: self.mention(EntryKind::Provider, fields.provider) }
            }
            IdentityEntry::Circleci(fields) => Identity::Circleci { audience: audience(fields) },
            IdentityEntry::Buildkite(fields) => Identity::Buildkite { audience: audience(fields) },
            IdentityEntry::AzurePipelines(fields) => Identity::AzurePipelines {
                service_connection: fields
                    .and_then(|fields| fields.service_connection)
                    .map(|connection| connection.0),
            },
            IdentityEntry::Bitbucket(_) => Identity::Bitbucket,
            IdentityEntry::TerraformCloud(fields) => {
                Identity::TerraformCloud { tag: fields.and_then(|fields| fields.tag).map(|tag| tag.0) }
            }
            IdentityEntry::Spiffe(fields) => Identity::Spiffe {
                path: self.path(fields.path),
                audience: fields.audience.map(|audience| audience.0),
            },
            IdentityEntry::Command(fields) => self.command(fields)?,
        })
    }

    fn command(
        &self,
        fields: super::yaml::Spanned<document::CommandIdentity>,
    ) -> Result<Identity, SettingsError> {
        let place = self.at(fields.at);
        // Security: whoever writes a person's file, or names another one by a flag, names no program.
        if self.origin.owner != Owner::Administrator {
            return Err(SettingsError::ForAdministrators { place, field: "command" });
        }
        let mut words = fields.value.command.into_iter().map(|word| word.0);
        let program = words.next().map(PathBuf::from).filter(|program| program.is_absolute());
        let problem = "`command` begins with the absolute path of a program";
        let program = program.ok_or(SettingsError::Combination { place, problem })?;
        Ok(Identity::Command { program, arguments: words.collect() })
    }

    fn profile(&mut self, name: &Name, entry: ProfileEntry) -> Result<Profile, SettingsError> {
        let pins = entry.cluster.map(|pins| pins.0).unwrap_or_default();
        Ok(Profile {
            name: name.clone(),
            file: Some(self.origin.file.to_owned()),
            named_by: self.origin.named_by,
            clusters: pins.into_iter().map(|pin| self.pin(pin)).collect(),
            source: self.source(entry.source)?,
        })
    }

    fn pin(&self, pin: Pin) -> ClusterPin {
        ClusterPin {
            server: pin.server.0,
            certificate_authority: pin.certificate_authority.map(|pem| self.pem(pem)),
            insecure_skip_tls_verify: pin.insecure_skip_tls_verify.is_some(),
            without_cluster_info: pin.without_cluster_info.is_some(),
        }
    }

    fn source(&mut self, source: Source) -> Result<SourceSettings, SettingsError> {
        Ok(match source {
            Source::VaultKubernetes(fields) => SourceSettings::VaultKubernetes(VaultKubernetes {
                vault: fields.vault.map(|vault| self.mention(EntryKind::Vault, vault)),
                mount: mount_or(fields.mount, KUBERNETES_MOUNT),
                role: fields.role.0,
                namespace: fields.namespace.map(|namespace| namespace.0),
                ttl: fields.ttl.map(|ttl| ttl.0),
                audiences: audiences(fields.audiences),
                cluster_role_binding: fields.cluster_role_binding,
            }),
            Source::VaultKv(fields) => SourceSettings::VaultKv(VaultKv {
                vault: fields.vault.map(|vault| self.mention(EntryKind::Vault, vault)),
                mount: mount_or(fields.mount, KV_MOUNT),
                path: fields.path.map_or_else(|| KV_PATH.to_owned(), |path| path.0),
                field: fields.field.map_or_else(|| KV_FIELD.to_owned(), |field| field.0),
                cluster: fields.cluster.map(|cluster| cluster.0),
                team: fields.team.map(|team| team.0),
            }),
            Source::VaultIdentity(fields) => SourceSettings::VaultIdentity(VaultIdentity {
                vault: fields.vault.map(|vault| self.mention(EntryKind::Vault, vault)),
                role: fields.role.0,
            }),
            Source::Oidc(fields) => {
                let location = fields.at;
                let OidcEntry { provider, vault, token } = fields.value;
                let problem = match (provider, vault, token) {
                    (Some(provider), None, None) => {
                        let provider = self.mention(EntryKind::Provider, provider);
                        return Ok(SourceSettings::Oidc(OidcSource { provider }));
                    }
                    (None, Some(vault), token) => {
                        let vault = Some(self.mention(EntryKind::Vault, vault));
                        let token = token.map(Into::into).unwrap_or_default();
                        return Ok(SourceSettings::VaultOidc(VaultOidc { vault, token }));
                    }
                    (Some(_), None, Some(_)) => "which `token` it is stands with the provider",
                    _ => "`oidc` needs either `provider` or `vault`",
                };
                return Err(SettingsError::Combination { place: self.at(location), problem });
            }
            Source::TokenExchange(fields) => {
                let location = fields.at;
                SourceSettings::TokenExchange(Box::new(self.exchange(fields.value, location)?))
            }
            Source::TokenRequest(fields) => SourceSettings::TokenRequest(TokenRequestSource {
                context: fields.context.0,
                namespace: fields.namespace.0,
                service_account: fields.service_account.0,
                audiences: audiences(fields.audiences),
                ttl: fields.ttl.map(|ttl| ttl.0),
                uid: fields.uid.map(|uid| uid.0),
                bound_object: fields.bound_object.is_some(),
            }),
        })
    }
}

fn mount_or(mount: Option<Mount>, default: &str) -> String {
    mount.map_or_else(|| default.to_owned(), |mount| mount.0)
}

pub(super) fn scopes(scopes: Vec<Scope>) -> Vec<String> {
    scopes.into_iter().map(|scope| scope.0).collect()
}

pub(super) fn audiences(audiences: Vec<Audience>) -> Vec<String> {
    audiences.into_iter().map(|audience| audience.0).collect()
}
