//! Keys made where they are used, and signing requests for them: what the authority needs and nothing else leaves.

use std::path::{Path, PathBuf};

use serde_json::json;
use veilsum_common::ids::SiteName;
use veilsum_daemon::entropy;
use veilsum_daemon::files::{self, FileError};
use veilsum_participant::enrol;
use veilsum_participant::keystore::{self, KeystoreError};
use veilsum_secagg::keys::MemberId;

use crate::args::Csr;
use crate::commands::participant;
use crate::error::Error;
use crate::render::Output;

/// A TLS key, a request for its certificate, and the protocol identity, whose id is returned.
///
/// An identity that is there already is kept: it outlives certificates.
pub(crate) fn participant(csr: &Csr) -> Result<Output, Error> {
    let (request, id) = make_site(&csr.dir, &csr.name)?;
    let key = enrol::key_path(&csr.dir);
    Ok(Output {
        data: json!({
            "name": csr.name.as_str(),
            "csr": path(&request),
            "key": path(&key),
            "identity_key": path(&csr.dir.join(participant::IDENTITY_KEY)),
            "protocol_id": id.to_string(),
        }),
        text: format!("request      {}\nprotocol id  {id}", request.display()),
        next: vec![
            format!("hand {} to the authority: veilsum ca issue {} --role participant", request.display(), request.display()),
            "give the protocol id to every other site; each lists all ids, its own included, under peers.ids".to_owned(),
        ],
    })
}

/// A TLS key and a request for its certificate.
pub(crate) fn operator(csr: &Csr) -> Result<Output, Error> {
    transport_only(csr, "--role operator")
}

/// A TLS key and a request for its certificate.
pub(crate) fn coordinator(csr: &Csr) -> Result<Output, Error> {
    transport_only(csr, "--role coordinator --host NAME-THAT-SITES-CALL")
}

/// The keys of a site in `dir` and its request; returns where the request is, and the protocol id.
pub(crate) fn make_site(dir: &Path, name: &SiteName) -> Result<(PathBuf, MemberId), Error> {
    files::private_directory(dir)?;
    match keystore::create_identity(&dir.join(participant::IDENTITY_KEY), entropy::fill) {
        Ok(_) | Err(KeystoreError::File(FileError::Exists { .. })) => {}
        Err(error) => return Err(error.into()),
    }
    let id = participant::protocol_id(dir)?;
    Ok((make_transport(dir, name)?, id))
}

/// A TLS key in `dir` and its request; returns where the request is.
pub(crate) fn make_transport(dir: &Path, name: &SiteName) -> Result<PathBuf, Error> {
    let request = enrol::request(dir, name)?;
    let file = dir.join(format!("{name}.csr"));
    files::write_atomic(&file, request.as_str().as_bytes())?;
    Ok(file)
}

fn transport_only(csr: &Csr, role: &str) -> Result<Output, Error> {
    let request = make_transport(&csr.dir, &csr.name)?;
    let key = enrol::key_path(&csr.dir);
    Ok(Output {
        data: json!({"name": csr.name.as_str(), "csr": path(&request), "key": path(&key)}),
        text: format!("request  {}", request.display()),
        next: vec![format!(
            "hand {} to the authority: veilsum ca issue {} {role}",
            request.display(),
            request.display()
        )],
    })
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
