//! The clouds that the pages about providers speak of, by their doubles: each believes one issuer, and
//! a home gets the token of that issuer where the page says that a platform lays it.

use serde_json::json;

use crate::home::Home;
use crate::rig::{Authority, Databricks, Entra, Google, Issuer, Policy};

const ISS: &str = "https://issuer.corp.example";
const SUBJECT: &str = "system:serviceaccount:team-a:deployer";
const PRINCIPAL: &str = "7f0c9a52-5c1e-4d0a-9a7e-1f6f3f0f2b11";
const WORKSPACE: &str = "https://dbc-1.cloud.databricks.com";
const SECRET: &str = "dose5f6f3f0f2b11aa00";

pub struct Clouds {
    authority: Authority,
    issuer: Issuer,
    workspace: Databricks,
    account: Databricks,
    entra: Entra,
    google: Google,
}

impl Clouds {
    pub fn start() -> Self {
        let (authority, issuer) = (Authority::new("clouds"), Issuer::new());
        let (workspace, account) = (Databricks::workspace(&authority), Databricks::account(&authority));
        let policy = |client_id: Option<&str>| Policy {
            issuer: ISS.into(),
            audiences: vec![WORKSPACE.into()],
            client_id: client_id.map(str::to_owned),
            subject: client_id.map(|_| SUBJECT.to_owned()),
        };
        workspace.allow(&issuer, policy(Some(PRINCIPAL)));
        workspace.secret(PRINCIPAL, SECRET);
        account.allow(&issuer, policy(None));
        let (entra, google) = (Entra::new(&authority), Google::new(&authority));
        entra.federate(PRINCIPAL, &issuer, ISS, SUBJECT);
        google.trust(&issuer, ISS);
        google.impersonate("deployer@project.iam.gserviceaccount.com");
        Self { authority, issuer, workspace, account, entra, google }
    }

    /// Puts into a home what its platform would, and gives the settings with the doubles' names.
    pub fn prepare(&self, home: &Home, settings: &str) -> String {
        let audience = if settings.contains("preset: entra") {
            "api://AzureADTokenExchange"
        } else if settings.contains("preset: google") {
            &self.google.provider
        } else {
            WORKSPACE
        };
        let token = self.issuer.token(SUBJECT, audience, &json!({"iss": ISS}));
        let file = home.write_secret("platform-token", &token).display().to_string();
        home.set("SSL_CERT_FILE", &self.authority.file.display().to_string());
        if settings.contains("MY_ID_TOKEN") {
            home.set_secret("MY_ID_TOKEN", &token);
        }
        if settings.contains("databricks-secret") {
            home.write_secret(".config/vaulttoken/databricks-secret", SECRET);
        }
        if settings.contains("preset: entra") {
            home.set("AZURE_AUTHORITY_HOST", &self.entra.address);
            if !settings.contains("tenantId") {
                home.set("AZURE_CLIENT_ID", PRINCIPAL).set("AZURE_TENANT_ID", &self.entra.tenant_id);
                home.set("AZURE_FEDERATED_TOKEN_FILE", &file);
            }
        }
        let google = format!("preset: google\n        host: {}", self.google.address);
        settings
            .replace("/var/run/secrets/tokens/databricks", &file)
            .replace(WORKSPACE, &self.workspace.address)
            .replace("https://accounts.cloud.databricks.com", &self.account.address)
            .replace("0d26daa6-5e44-4c97-a497-ef015f91254a", &self.account.account_id)
            .replace("72f988bf-86f1-41af-91ab-2d7cd011db47", &self.entra.tenant_id)
            .replace(
                "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/jobs/providers/ci",
                &self.google.provider,
            )
            .replace("preset: google", &google)
    }
}
