use super::*;
use crate::oidc::callback::CallbackError;

fn told(error: &VaultError) -> String {
    let lines = [Some(error.to_string()), error.why(), error.hint()];
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    format!("{} {}", error.exit_code(), lines.join("\n  "))
}

fn words(text: &str) -> Vec<String> {
    vec![text.into()]
}

const V: &str = "https://vault:8200";

fn refused(method: &'static str, status: u16, who: Option<&str>, message: &str) -> VaultError {
    VaultError::LoginRefused {
        vault: V.into(),
        method,
        mount: method.into(),
        who: who.map(str::to_owned),
        status,
        messages: if message.is_empty() { Vec::new() } else { words(message) },
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn every_error_says_what_why_and_what_mends_it() {
    let vault = || V.to_owned();
    let cases = [
        (
            VaultError::LoginRequired { vault: vault(), method: "oidc", why: "no session is kept".into() },
            "3 log-in to `https://vault:8200` required\n  no session is kept\n  {program} login{profile}{vault}{config}",
        ),
        (
            VaultError::LoginRequired { vault: vault(), method: "token", why: "there is no token".into() },
            "3 log-in to `https://vault:8200` required\n  there is no token\n  log in with `vault login` or `bao login`, or set `VAULT_TOKEN`",
        ),
        (
            refused("userpass", 400, Some("alice"), "invalid username or password"),
            "4 `https://vault:8200` refused the log-in of `alice` with `userpass` at `auth/userpass`\n  invalid username or password\n  {program} login{profile}{vault}{config}",
        ),
        (
            refused("kubernetes", 403, None, "permission denied"),
            "4 `https://vault:8200` refused the log-in with `kubernetes` at `auth/kubernetes`\n  permission denied (which is also said where nothing is mounted there)\n  check that `auth/kubernetes` exists and that this identity may log in there",
        ),
        (
            refused("jwt", 400, None, "role \"zz\" could not be found"),
            "4 `https://vault:8200` refused the log-in with `jwt` at `auth/jwt`\n  role \"zz\" could not be found\n  check the role at `auth/jwt` and what it binds to",
        ),
        (
            refused("kubernetes", 500, None, ""),
            "4 `https://vault:8200` refused the log-in with `kubernetes` at `auth/kubernetes`\n  status 500\n  ask an operator of this Vault to look at `auth/kubernetes`",
        ),
        (
            VaultError::FactorRefused {
                vault: vault(),
                who: Some("mia".into()),
                messages: words("failed to satisfy enforcement e"),
            },
            "4 `https://vault:8200` refused the second factor of `mia`\n  failed to satisfy enforcement e\n  {program} login{profile}{vault}{config}",
        ),
        (
            VaultError::Denied {
                vault: vault(),
                path: "kubernetes/creds/dev".into(),
                operation: Operation::Write,
                messages: words("1 error occurred: * permission denied"),
            },
            "4 `https://vault:8200` denied to write to `kubernetes/creds/dev`\n  1 error occurred: * permission denied\n  ask for a policy with `path \"kubernetes/creds/dev\" { capabilities = [\"update\"] }`",
        ),
        (
            VaultError::Denied {
                vault: vault(),
                path: "secret/data/x".into(),
                operation: Operation::Read,
                messages: Vec::new(),
            },
            "4 `https://vault:8200` denied to read `secret/data/x`\n  ask for a policy with `path \"secret/data/x\" { capabilities = [\"read\"] }`",
        ),
        (
            VaultError::Rejected {
                vault: vault(),
                path: "kubernetes/creds/nope".into(),
                status: 400,
                messages: words("role 'nope' does not exist"),
            },
            "4 `https://vault:8200` rejected the call to `kubernetes/creds/nope` with status 400\n  role 'nope' does not exist",
        ),
        (
            VaultError::NamespaceUnknown { vault: vault(), namespace: "team".into() },
            "4 `https://vault:8200` knows no namespace `team`\n  check `namespace` of this vault in the settings",
        ),
        (
            VaultError::WrappingSpent {
                vault: vault(),
                mount: "approle".into(),
                file: "/run/w".into(),
                messages: words("wrapping token is not valid or does not exist"),
            },
            "4 the wrapped secret id in `/run/w` is no longer valid: someone has unwrapped it, or it is too old\n  wrapping token is not valid or does not exist\n  if this machine did not unwrap it, revoke that secret id; ask for a new one of `auth/approle`",
        ),
        (
            VaultError::WrappingForeign {
                vault: vault(),
                mount: "approle".into(),
                file: "/run/w".into(),
                creation_path: "cubbyhole/x".into(),
            },
            "4 what `/run/w` unwraps to is no secret id of `auth/approle`\n  it was wrapped at `cubbyhole/x`\n  do not use it: ask who delivered it where it comes from, and for a new one",
        ),
        (
            VaultError::Sealed { vault: vault() },
            "5 `https://vault:8200` is sealed\n  ask an operator to unseal it, then try again",
        ),
        (
            VaultError::Busy { vault: vault(), messages: words("rate limit quota exceeded") },
            "5 `https://vault:8200` is too busy for another request\n  rate limit quota exceeded\n  try again in a minute",
        ),
        (
            VaultError::Unavailable { vault: vault(), status: 502, messages: Vec::new() },
            "5 `https://vault:8200` cannot serve at the moment (status 502)\n  try again in a minute",
        ),
        (
            VaultError::Unusable { vault: vault(), path: "x".into(), why: "it is empty".into() },
            "6 the answer of `https://vault:8200` to `x` cannot be used\n  it is empty\n  check that the address is that of a Vault or OpenBao",
        ),
        (
            VaultError::Redirect {
                vault: vault(),
                target: "https://evil".into(),
                why: "that host is not listed",
            },
            "7 `https://vault:8200` redirects to `https://evil`, where nothing secret is sent\n  that host is not listed\n  if that is a node of this vault, list it in `addresses`, or set `certificateAuthority`",
        ),
        (
            VaultError::Cleartext { vault: "http://vault:8200".into() },
            "7 nothing secret is sent to `http://vault:8200` without TLS\n  whoever listens on the way could read it\n  use an address that begins with `https://`",
        ),
        (
            VaultError::Path { part: "../x\u{1b}".into() },
            "2 `../x\u{fffd}` cannot be part of a path in Vault\n  it is empty, or has an empty, `.` or `..` segment",
        ),
        (
            VaultError::RedirectNotAllowed {
                vault: vault(),
                mount: "oidc".into(),
                role: Some("dev".into()),
                redirect_uri: "http://localhost:8250/oidc/callback".into(),
            },
            "4 `https://vault:8200` has no address to log in at with role `dev` at `auth/oidc`\n  it does not say why; most often the role does not allow `http://localhost:8250/oidc/callback`, and its log says what else\n  ask an operator to add `http://localhost:8250/oidc/callback` to the role's `allowed_redirect_uris`",
        ),
        (
            VaultError::NoDeviceCode { vault: vault(), mount: "oidc".into(), role: None },
            "4 `https://vault:8200` gives no code for another device with the default role at `auth/oidc`\n  only a role of OpenBao with `callback_mode` `device` does, where the provider can\n  {program} login --no-browser{profile}{vault}{config}",
        ),
        (
            VaultError::Callback {
                vault: vault(),
                cause: CallbackError::Refused {
                    code: "access_denied".into(),
                    description: Some("the person said no".into()),
                },
            },
            "4 no log-in to `https://vault:8200`: the provider refused the log-in\n  access_denied: the person said no\n  {program} login{profile}{vault}{config}",
        ),
        (
            VaultError::Callback {
                vault: vault(),
                cause: CallbackError::Refused { code: "invalid_scope".into(), description: None },
            },
            "4 no log-in to `https://vault:8200`: the provider refused the log-in\n  invalid_scope\n  ask whoever runs the provider what this client may ask for",
        ),
        (
            VaultError::Callback { vault: vault(), cause: CallbackError::Unanswered { others: 2 } },
            "5 no log-in to `https://vault:8200`: no answer came in time\n  2 came that did not belong to this log-in, and were refused\n  try again, or allow more time with `--login-timeout`",
        ),
        (
            VaultError::Callback {
                vault: vault(),
                cause: CallbackError::Listen { why: "Too many open files (os error 24)".into() },
            },
            "1 no log-in to `https://vault:8200`: no browser's answer can be waited for on this machine's loopback\n  Too many open files (os error 24)\n  {program} login --device-code{profile}{vault}{config}",
        ),
        (
            VaultError::Callback { vault: vault(), cause: CallbackError::Taken { port: 8250 } },
            "5 no log-in to `https://vault:8200`: port 8250 of this machine is taken by another program\n  the provider sends the browser to this port and to no other\n  end that program (perhaps another log-in), then try again",
        ),
        (
            VaultError::Unanswered { vault: vault() },
            "5 the log-in to `https://vault:8200` was given up: nobody answered in time\n  try again, or allow more time with `--login-timeout`",
        ),
        (
            VaultError::HelperLate { helper: "/opt/helper".into() },
            "5 the token helper `/opt/helper` did not answer in time\n  it was ended when the time was over\n  run it by hand with the word `get`, or set `VAULT_TOKEN`",
        ),
        (
            VaultError::GivenUp { vault: vault() },
            "130 the log-in to `https://vault:8200` was given up\n  {program} login{profile}{vault}{config}",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(told(&error), expected);
    }
}
