//! `veilsum ca`: the built-in authority on files. It authenticates transport; whom a site trusts as a peer is pinned at the site.

use std::path::Path;

use serde_json::json;
use veilsum_common::time::Span;
use veilsum_coordinator::ca::{Authority, CERTIFICATE_FILE, IssuedPem};
use veilsum_daemon::identity::Role;
use veilsum_daemon::{clock, files};

use crate::args::{CaCommand, CaIssue};
use crate::error::Error;
use crate::render::Output;

pub(crate) fn run(command: CaCommand) -> Result<Output, Error> {
    match command {
        CaCommand::Init {
            dir,
            trust_domain,
            federation,
        } => init(&dir, &trust_domain, &federation),
        CaCommand::Issue(issue) => issue_file(&issue),
    }
}

fn init(dir: &Path, trust_domain: &str, federation: &str) -> Result<Output, Error> {
    let authority = Authority::init(dir, trust_domain, federation, clock::now())?;
    let certificate = dir.join(CERTIFICATE_FILE);
    Ok(Output {
        data: json!({
            "certificate": certificate.display().to_string(),
            "federation": authority.federation().to_string(),
            "fingerprint_sha256": authority.fingerprint().to_string(),
        }),
        text: format!("authority    {}\nfingerprint  sha256:{}", certificate.display(), authority.fingerprint()),
        next: vec![
            format!("give {} to the coordinator, every site and every operator", certificate.display()),
            "veilsum coordinator csr coordinator; then veilsum ca issue coordinator.csr --role coordinator --host NAME".to_owned(),
        ],
    })
}

fn issue_file(issue: &CaIssue) -> Result<Output, Error> {
    let out = issue
        .out
        .clone()
        .unwrap_or_else(|| issue.csr.with_extension("pem"));
    let issued = self::issue(issue, &out)?;
    let (name, role) = (&issued.identity.name, issued.identity.role);
    Ok(Output {
        data: json!({
            "certificate": out.display().to_string(),
            "name": name.as_str(),
            "role": role.as_str(),
            "serial": issued.identity.serial.to_string(),
            "not_after_ms": issued.not_after.0,
        }),
        text: format!(
            "certificate  {}\nfor          {role} {name}, {} days",
            out.display(),
            issue.days
        ),
        next: vec![next(role, &out)],
    })
}

/// Reads the request, issues, and writes the certificate to `out`.
pub(crate) fn issue(issue: &CaIssue, out: &Path) -> Result<IssuedPem, Error> {
    let authority = Authority::open(&issue.dir)?;
    let request = files::read(&issue.csr, CSR_BYTES_MAX)?;
    let request = String::from_utf8(request).map_err(|_| Error::NotText {
        path: issue.csr.clone(),
    })?;
    let validity = Span::from_secs(u64::from(issue.days) * 24 * 60 * 60);
    let issued = authority.issue(&request, issue.role, &issue.hosts, validity, clock::now())?;
    files::write_atomic(out, issued.pem.as_bytes())?;
    Ok(issued)
}

fn next(role: Role, certificate: &Path) -> String {
    let certificate = certificate.display();
    match role {
        Role::Participant => format!(
            "bring {certificate} back to the site, name it under tls.cert in site.toml, then veilsum participant --config site.toml"
        ),
        Role::Coordinator => format!(
            "name {certificate} under tls.cert in coordinator.toml, then veilsum coordinator --config coordinator.toml"
        ),
        Role::Operator | Role::Auditor => format!(
            "veilsum run list --at https://HOST:PORT --ca ca.pem --cert {certificate} --key tls.key"
        ),
    }
}

/// Longest signing request: one with the largest RSA key takes 3 kB.
const CSR_BYTES_MAX: u64 = 64 * 1024;
