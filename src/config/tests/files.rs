//! Files on a disk: which are read, how two become one, and the examples.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file;
use crate::config::{
    AuthMethod, ClusterProfile, Identity, JwtOrigin, Kubeconfig, KubeconfigFiles, Name, NamedBy, Pem,
    Settings, SettingsError, SettingsFiles, SourceSettings, Store, profile_of,
};
use crate::env::Env;
use crate::error::Explain as _;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, body: &str) {
        std::fs::write(self.path(path), file(body)).unwrap();
    }

    fn files(&self, person_named_by: NamedBy) -> SettingsFiles {
        SettingsFiles {
            person: Some(self.path("person.yaml")),
            person_named_by,
            usual: (person_named_by == NamedBy::Flag).then(|| self.path("usual.yaml")),
            administrator: self.path("administrator.yaml"),
            home: Some(PathBuf::from("/home/me")),
        }
    }
}

/// Security: a kubeconfig can name flags.
#[test]
fn a_file_that_a_flag_names_can_only_make_the_store_stricter() {
    for (usual, flagged, expected) in [
        ("", "store: plain\n", Store::Auto),
        ("", "store: sealed\n", Store::Sealed),
        ("", "store: none\n", Store::None),
        ("store: sealed\n", "store: plain\n", Store::Sealed),
        ("store: sealed\n", "store: auto\n", Store::Sealed),
        ("store: sealed\n", "", Store::Sealed),
        ("store: none\n", "store: sealed\n", Store::None),
        ("store: plain\n", "", Store::Plain),
        ("store: plain\n", "store: auto\n", Store::Auto),
    ] {
        let disk = Disk::new();
        disk.write("usual.yaml", usual);
        disk.write("person.yaml", flagged);
        let settings = Settings::load(&disk.files(NamedBy::Flag)).unwrap();
        assert_eq!(settings.store, expected, "{usual}{flagged}");
        // A variable of the person's own names the usual file.
        let settings = Settings::load(&disk.files(NamedBy::Environment)).unwrap();
        assert_eq!(settings.store == Store::Plain, flagged == "store: plain\n");
    }
}

#[test]
fn the_persons_entries_lie_over_the_administrators() {
    let administrators = file(
        "store: sealed
vaults:
  corp: {address: https://theirs, namespace: n}
  shared: {address: https://shared}
profiles: {prod: {source: {vaultKubernetes: {vault: corp, role: r}}}}
",
    );
    let persons = file(
        "vaults: {corp: {address: https://mine}}
profiles: {jobs: {source: {vaultKv: {vault: shared}}}}
",
    );
    let whole = Settings::of_texts(&administrators, &persons, NamedBy::Settings).unwrap();
    assert_eq!(whole.store, Store::Sealed);
    let corp = &whole.vaults[&name("corp")];
    assert_eq!(
        (corp.address.to_string().as_str(), &corp.namespace),
        ("https://mine", &None),
        "replaced whole"
    );
    let file_of = |profile: &str| whole.profiles[&name(profile)].file.clone().unwrap();
    assert_eq!(file_of("jobs"), Path::new("/home/me/config.yaml"));
    assert_eq!(file_of("prod"), Path::new("/etc/vaulttoken/config.yaml"));

    let over = file("store: plain\n");
    assert_eq!(Settings::of_texts(&administrators, &over, NamedBy::Settings).unwrap().store, Store::Plain);

    let flagged = Settings::of_texts(&administrators, &persons, NamedBy::Flag).unwrap();
    let named_by = |vault: &str| flagged.vaults[&name(vault)].named_by;
    assert_eq!((named_by("corp"), named_by("shared")), (NamedBy::Flag, NamedBy::Settings));
    assert_eq!(flagged.profiles[&name("jobs")].named_by, NamedBy::Flag);
    assert_eq!(flagged.profiles[&name("prod")].named_by, NamedBy::Settings);
}

#[test]
fn the_journal_is_switched_off_by_a_settings_file_and_not_by_one_that_a_flag_names() {
    use crate::config::Journaling::{Off, On};
    let of = |administrator: &str, person: &str, named_by| {
        Settings::of_texts(administrator, &file(person), named_by).unwrap().journal
    };
    assert_eq!(of("", "", NamedBy::Settings), On);
    for (word, expected) in [("off", Off), ("on", On), ("'off'", Off), ("false", Off), ("true", On)] {
        assert_eq!(of("", &format!("journal: {word}\n"), NamedBy::Settings), expected, "{word}");
    }
    assert_eq!(of(&file("journal: off\n"), "journal: on\n", NamedBy::Settings), On);
    assert_eq!(of("", "journal: off\n", NamedBy::Flag), On, "it may be a kubeconfig's flag");
    assert!(Settings::of_text(&file("journal: never\n")).is_err());
}

#[test]
fn a_file_that_the_persons_environment_names_is_as_good_as_the_usual_one() {
    let disk = Disk::new();
    disk.write("person.yaml", "vaults: {corp: {address: https://v}}\n");
    for (named_by, of_vault) in [
        (NamedBy::Settings, NamedBy::Settings),
        (NamedBy::Environment, NamedBy::Settings),
        (NamedBy::Flag, NamedBy::Flag),
    ] {
        let whole = Settings::load(&disk.files(named_by)).unwrap();
        assert_eq!(whole.vaults[&name("corp")].named_by, of_vault);
    }
}

#[test]
fn a_replaced_entry_needs_nothing_any_more() {
    let administrators = file("identities: {i: {oidc: {provider: nobody}}}\n");
    let persons = file("identities: {i: {gitlab: {}}}\n");
    assert!(Settings::of_texts(&administrators, &persons, NamedBy::Settings).is_ok());
    let error = Settings::of_texts(&administrators, "", NamedBy::Settings).unwrap_err();
    assert_eq!(error.to_string(), "`/etc/vaulttoken/config.yaml:3:35`: there is no provider `nobody`");
}

#[cfg(unix)]
#[test]
fn an_administrators_file_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let disk = Disk::new();
    disk.write("administrator.yaml", "");
    std::fs::set_permissions(disk.path("administrator.yaml"), std::fs::Permissions::from_mode(0o664))
        .unwrap();
    let owner = rustix::process::geteuid().as_raw();
    let error = Settings::load(&disk.files(NamedBy::Settings)).unwrap_err();
    let file = disk.path("administrator.yaml").display().to_string();
    assert_eq!(error.to_string(), format!("the administrator's settings `{file}` were refused"));
    assert_eq!(
        error.why().unwrap(),
        format!(
            "it counts only if root owns it and nobody else can write it; its owner is {owner}, its mode 0664"
        )
    );
    assert_eq!(error.hint().unwrap(), format!("sudo chown root {file} && sudo chmod go-w {file}"));
}

#[test]
fn a_missing_file_matters_only_where_it_was_named() {
    let disk = Disk::new();
    assert_eq!(Settings::load(&disk.files(NamedBy::Settings)).unwrap(), Settings::default());
    let error = Settings::load(&disk.files(NamedBy::Flag)).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` does not exist", disk.path("person.yaml").display()));
    assert_eq!(error.why().unwrap(), "`--config` names it");
    assert_eq!(error.hint().unwrap(), "name a file that exists, or leave `--config` out");
    let error = Settings::load(&disk.files(NamedBy::Environment)).unwrap_err();
    assert_eq!(error.why().unwrap(), "`VAULTTOKEN_CONFIG` names it");
    assert_eq!(error.hint().unwrap(), "unset VAULTTOKEN_CONFIG");
}

#[test]
fn a_file_that_says_nothing_is_empty_settings() {
    let disk = Disk::new();
    for text in ["", "\n", "# later\n", "---\n# later\n", "\u{feff}"] {
        std::fs::write(disk.path("person.yaml"), text).unwrap();
        assert_eq!(Settings::load(&disk.files(NamedBy::Settings)).unwrap(), Settings::default(), "{text:?}");
    }
    disk.write("person.yaml", "vaults:\nproviders:\nidentities:\nprofiles:\n");
    assert_eq!(Settings::load(&disk.files(NamedBy::Settings)).unwrap(), Settings::default());
}

#[test]
fn files_as_windows_writes_them_are_read() {
    let disk = Disk::new();
    let text = format!("\u{feff}{}", file("store: plain\nprofiles:\n  # none yet\n")).replace('\n', "\r\n");
    std::fs::write(disk.path("person.yaml"), text).unwrap();
    assert_eq!(Settings::load(&disk.files(NamedBy::Settings)).unwrap().store, Store::Plain);
    let utf16: Vec<u8> = file("").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(disk.path("person.yaml"), utf16).unwrap();
    let error = Settings::load(&disk.files(NamedBy::Settings)).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is not text", disk.path("person.yaml").display()));
    assert_eq!(error.hint().unwrap(), "save it as UTF-8");
}

#[test]
fn what_cannot_be_read_is_told() {
    let disk = Disk::new();
    let person = disk.path("person.yaml");
    let told = || Settings::load(&disk.files(NamedBy::Settings)).unwrap_err().to_string();
    std::fs::write(&person, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert_eq!(told(), format!("`{}` is larger than 1024 KiB", person.display()));
    std::fs::write(&person, b"\x7fELF\0\xff").unwrap();
    assert_eq!(told(), format!("`{}` is not text", person.display()));
    std::fs::remove_file(&person).unwrap();
    std::fs::create_dir(&person).unwrap();
    assert_eq!(told(), format!("`{}` is not a file", person.display()));
    let error = SettingsError::Unreadable { file: "/a b".into(), cause: "Permission denied".into() };
    assert_eq!(error.to_string(), "`/a b` cannot be read");
    assert_eq!(error.why().unwrap(), "Permission denied");
    assert_eq!(error.hint().unwrap(), "ls -l '/a b'");
}

#[test]
fn the_files_of_a_call_come_from_flag_variable_or_their_usual_place() {
    let env = |pairs: &[(&str, &str)]| {
        Env::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    };
    let of = |env: &Env, flag: Option<&str>| {
        let files = SettingsFiles::of(env, flag.map(Path::new));
        (files.person.unwrap().display().to_string(), files.person_named_by)
    };
    let both = env(&[("HOME", "/home/me"), ("VAULTTOKEN_CONFIG", "/v.yaml")]);
    assert_eq!(of(&both, Some("/f.yaml")), ("/f.yaml".to_owned(), NamedBy::Flag));
    assert_eq!(of(&both, None), ("/v.yaml".to_owned(), NamedBy::Environment));
    let home = env(&[("HOME", "/home/me")]);
    assert_eq!(of(&home, None), ("/home/me/.config/vaulttoken/config.yaml".to_owned(), NamedBy::Settings));
}

#[test]
fn paths_are_relative_to_their_file_and_the_tilde_is_home() {
    let body = "vaults:
  a: {address: https://v, certificateAuthority: ca/corp.pem, auth: {approle: {roleId: r, secretIdFile: ~/secret}}}
  b: {address: https://v, certificateAuthority: /abs.pem}
  c: {address: https://v, certificateAuthority: \"-----BEGIN CERTIFICATE-----\\nAA==\\n\"}
identities:
  i: {file: {path: ../token}}
";
    let settings = Settings::of_text(&file(body)).unwrap();
    let authority = |vault: &str| settings.vaults[&name(vault)].tls.certificate_authorities[0].clone();
    assert_eq!(authority("a"), Pem::File("/home/me/ca/corp.pem".into()));
    assert_eq!(authority("b"), Pem::File("/abs.pem".into()));
    assert!(matches!(authority("c"), Pem::Inline(_)));
    let AuthMethod::Approle { secret_id_file, .. } = &settings.vaults[&name("a")].auth else { panic!() };
    assert_eq!(secret_id_file.as_deref(), Some(Path::new("/home/me/secret")));
    assert_eq!(settings.identities[&name("i")], Identity::File { path: "/home/me/../token".into() });
}

#[test]
fn what_is_left_out_has_its_method_s_or_engine_s_usual_value() {
    let body = "vaults:
  a: {address: https://v}
  b: {address: https://v, auth: userpass}
  c: {address: https://v, auth: {ldap: }}
  d: {address: https://v, auth: {kubernetes: {role: r}}}
  e: {address: https://v, auth: {jwt: {provider: p}}}
  f: {address: https://v, auth: {oidc: {}}}
  g: {address: https://v, auth: cert}
  h: {address: https://v, auth: {approle: {roleId: 123}}}
providers: {p: {issuer: https://P.example, clientId: no}}
identities: {g: {gitlab: }, k: kubernetes}
profiles:
  k: {source: {vaultKubernetes: {vault: a, role: 0x1f}}}
  v: {source: {vaultKv: {vault: a}}}
";
    let settings = Settings::of_text(&file(body)).unwrap();
    let auth = |vault: &str| settings.vaults[&name(vault)].auth.clone();
    assert_eq!(auth("a"), AuthMethod::Token);
    assert_eq!(auth("b"), AuthMethod::Userpass { mount: "userpass".into(), username: None });
    assert_eq!(auth("c"), AuthMethod::Ldap { mount: "ldap".into(), username: None });
    assert_eq!(
        auth("d"),
        AuthMethod::Kubernetes { mount: "kubernetes".into(), role: "r".into(), identity: None }
    );
    let from = JwtOrigin::Provider(name("p"));
    assert_eq!(auth("e"), AuthMethod::Jwt { mount: "jwt".into(), role: None, from });
    assert_eq!(auth("f"), AuthMethod::Oidc { mount: "oidc".into(), role: None });
    assert_eq!(auth("g"), AuthMethod::Cert { mount: "cert".into(), role: None, pair: None });
    assert_eq!(
        auth("h"),
        AuthMethod::Approle {
            mount: "approle".into(),
            role_id: "123".into(),
            secret_id_file: None,
            secret_id_wrapped: false
        }
    );
    assert_eq!(settings.providers[&name("p")].client_id, "no", "a word stays a word");
    assert_eq!(settings.providers[&name("p")].issuer.as_str(), "https://P.example");
    assert_eq!(settings.identities[&name("g")], Identity::Gitlab { variable: "VAULT_ID_TOKEN".into() });
    assert_eq!(
        settings.identities[&name("k")],
        Identity::Kubernetes {
            audience: None,
            path: "/var/run/secrets/kubernetes.io/serviceaccount/token".into()
        }
    );
    let SourceSettings::VaultKubernetes(source) = &settings.profiles[&name("k")].source else { panic!() };
    assert_eq!((source.mount.as_str(), source.role.as_str()), ("kubernetes", "0x1f"));
    let SourceSettings::VaultKv(source) = &settings.profiles[&name("v")].source else { panic!() };
    assert_eq!(
        (source.mount.as_str(), source.path.as_str(), source.field.as_str()),
        ("secret", "service-account-tokens/{cluster}/{team}", "token")
    );
}

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

fn load_example(file: &str) -> Settings {
    Settings::load(&SettingsFiles {
        person: Some(example(file)),
        person_named_by: NamedBy::Environment,
        usual: None,
        administrator: PathBuf::from("/nowhere"),
        home: Some(PathBuf::from("/home/me")),
    })
    .unwrap()
}

#[test]
fn the_example_shows_every_kind() {
    let settings = load_example("config.yaml");
    let mut kinds: Vec<&str> = settings.profiles.values().map(|profile| profile.source.name()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(
        kinds,
        ["oidc", "tokenExchange", "tokenRequest", "vaultIdentity", "vaultKubernetes", "vaultKv"]
    );
    let mut methods: Vec<&str> = settings.vaults.values().map(|vault| vault.auth.name()).collect();
    methods.sort_unstable();
    methods.dedup();
    assert_eq!(methods, ["approle", "cert", "jwt", "kubernetes", "ldap", "oidc", "token", "userpass"]);
    let repeatable = settings.vaults.values().map(|vault| &vault.auth).filter(|auth| auth.is_repeatable());
    let mut repeatable: Vec<&str> = repeatable.map(AuthMethod::name).collect();
    repeatable.sort_unstable();
    repeatable.dedup();
    assert_eq!(
        repeatable,
        ["cert", "jwt", "kubernetes"],
        "the secret id there is wrapped: it can be had once"
    );
    assert_eq!((settings.identities.len(), settings.providers.len()), (7, 2));
    let SourceSettings::VaultKubernetes(prod) = &settings.profiles[&name("prod")].source else { panic!() };
    assert_eq!(prod.ttl, Some(Duration::from_secs(3_600)));
    let pins = &settings.profiles[&name("stage")].clusters;
    let allowed: Vec<_> =
        pins.iter().map(|pin| (pin.insecure_skip_tls_verify, pin.without_cluster_info)).collect();
    assert_eq!(allowed, [(false, false), (true, true)]);
    let corp = &settings.vaults[&name("corp")];
    assert_eq!((corp.addresses.len(), corp.namespace.as_deref()), (2, Some("platform")));
}

#[test]
fn the_pipelines_example_is_unattended_and_keeps_nothing() {
    let settings = load_example("ci.yaml");
    assert_eq!(settings.store, Store::None);
    assert!(settings.vaults.values().all(|vault| vault.auth.is_unattended() && vault.auth.is_repeatable()));
    let settings = std::sync::Arc::new(settings);
    let all = crate::config::Request::of_every_profile(&settings, &Env::default());
    assert_eq!(all.len(), 1);
    assert!(all.into_iter().all(|(_, request)| request.is_ok()));
}

#[test]
fn the_example_kubeconfigs_name_profiles_of_the_example_settings() {
    let settings = load_example("config.yaml");
    for file in ["kubeconfig-profile.yaml", "kubeconfig-one-user-many-clusters.yaml"] {
        let text = std::fs::read_to_string(example(file)).unwrap();
        let disk = Disk::new();
        // Their CA is not on this machine.
        std::fs::write(disk.path("k"), text.replace("    certificate-authority: /etc/ssl/prod.pem\n", ""))
            .unwrap();
        let kubeconfig = Kubeconfig::load(&KubeconfigFiles::Named(disk.path("k"))).unwrap();
        assert!(kubeconfig.contexts().count() > 0);
        for context in kubeconfig.contexts() {
            let context = kubeconfig.context(Some(context)).unwrap();
            let profile = profile_of(&context).unwrap();
            assert!(settings.profiles.contains_key(&name(&profile)), "{profile}");
            ClusterProfile::parse(&context.cluster.extension).unwrap();
        }
    }
}

#[test]
fn identities_of_platforms_may_be_written_without_fields() {
    let settings = Settings::of_text(&file(
        "identities: {a: {circleci: }, b: {buildkite: {audience: v}}, c: {azurePipelines: {}}, d: {bitbucket: {}}, \
         e: {terraformCloud: {tag: VAULT}}, f: {spiffe: {path: svid, audience: v}}, g: {circleci: {audience: v}}}\n",
    ))
    .unwrap();
    let audience = || Some("v".to_owned());
    for (entry, identity) in [
        ("a", Identity::Circleci { audience: None }),
        ("b", Identity::Buildkite { audience: audience() }),
        ("c", Identity::AzurePipelines { service_connection: None }),
        ("d", Identity::Bitbucket),
        ("e", Identity::TerraformCloud { tag: Some("VAULT".into()) }),
        ("f", Identity::Spiffe { path: "/home/me/svid".into(), audience: audience() }),
        ("g", Identity::Circleci { audience: audience() }),
    ] {
        assert_eq!(settings.identities[&name(entry)], identity);
    }
}

#[test]
fn only_the_administrator_names_a_program() {
    let command = |words: &str| file(&format!("identities: {{i: {{command: {{command: {words}}}}}}}\n"));
    let (good, none) = (command("[/opt/svid, --quiet]"), String::new());
    let settings = Settings::of_texts(&good, &none, NamedBy::Settings).unwrap();
    let expected = Identity::Command { program: "/opt/svid".into(), arguments: vec!["--quiet".into()] };
    assert_eq!(settings.identities[&name("i")], expected);
    for named_by in [NamedBy::Settings, NamedBy::Flag] {
        let error = Settings::of_texts(&good, &good, named_by).unwrap_err();
        let place = "`/home/me/config.yaml:3:27`";
        assert_eq!(
            error.to_string(),
            format!("{place}: `command` counts only in the administrator's settings")
        );
    }
    // Who may use it is not the question.
    let user = file("vaults: {v: {address: https://v, auth: {jwt: {identity: i}}}}\n");
    assert!(Settings::of_texts(&good, &user, NamedBy::Settings).is_ok());
    for words in ["[]", "[svid]", "[bin/svid]"] {
        let error = Settings::of_texts(&command(words), &none, NamedBy::Settings).unwrap_err();
        assert!(
            error.to_string().ends_with("`command` begins with the absolute path of a program"),
            "{error}"
        );
    }
}
