//! One etcd for all clusters of this process; each keeps to a prefix of its own. With a certificate, so
//! that it is never taken for the etcd of another run that was quicker to take the port.

use std::sync::OnceLock;

use serde_json::Value;

use super::super::certificates::Authority;
use super::super::http::Client;
use super::super::ports::with_free_ports;
use super::super::process::Process;
use super::super::tools::tool;
use super::LIMIT;

pub(super) struct Etcd {
    pub(super) address: String,
    pub(super) authority: Authority,
    _process: Process,
}

pub(super) fn shared() -> &'static Etcd {
    static SHARED: OnceLock<Etcd> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = super::super::folder("etcd");
        let authority = Authority::new("etcd");
        let certificate = authority.server(&[]);
        let client = Client::new(&authority.pem, None);
        let (address, process) = with_free_ports(|[port]| {
            let address = format!("https://127.0.0.1:{port}");
            let flags = [
                format!("--data-dir={}", folder.join("data").display()),
                format!("--listen-client-urls={address}"),
                format!("--advertise-client-urls={address}"),
                format!("--cert-file={}", certificate.file.display()),
                format!("--key-file={}", certificate.key_file.display()),
                "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
                // What is lost in a power cut is a test's.
                "--unsafe-no-fsync".to_owned(),
            ];
            let mut process = Process::start("etcd", &folder, &tool("etcd"), &flags, &[]);
            let url = format!("{address}/health");
            process.wait_until("healthy", LIMIT, || {
                let answer = client.call("GET", &url, &[], &Value::Null).ok()?;
                (answer.json["health"] == "true").then_some(())
            })?;
            Ok((address, process))
        });
        Etcd { address, authority, _process: process }
    })
}
