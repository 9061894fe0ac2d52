//! How a site asks for its certificate: the key is made here and never leaves; only a signing request does.
//!
//! The request carries the site's name and the proof that it holds the key, nothing else: what a certificate is good
//! for is decided by who issues it. Sending the request is not done here; it is a text that a person hands to the
//! authority.

use std::fmt;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use veilsum_common::ids::SiteName;
use veilsum_daemon::files::{self, FileError};
use zeroize::{Zeroize, Zeroizing};

/// Name of the private key's file in the site's directory.
pub const KEY_FILE: &str = "tls.key";

/// Why no signing request was made.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The directory or the key's file cannot be written, or there is a key already.
    #[error(transparent)]
    File(#[from] FileError),
    /// The library could not make the key or the request.
    #[error("making the signing request failed: {0}")]
    Library(#[from] rcgen::Error),
}

/// A certificate signing request in PEM.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CsrPem(String);

impl CsrPem {
    /// The text, to be handed to the authority.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CsrPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a P-256 key in `dir` (made if need be, 0700), readable by its owner alone, and a signing request for it under
/// the site's name.
///
/// # Errors
/// [`EnrolError::File`] with [`FileError::Exists`] if there is a key already: a certificate may have been issued for
/// it. Nothing is written then.
pub fn request(dir: &Path, name: &SiteName) -> Result<CsrPem, EnrolError> {
    files::private_directory(dir)?;
    let key = SiteKey(KeyPair::generate()?);
    let csr = signing_request(&key, name)?;
    files::create_secret(
        &key_path(dir),
        Zeroizing::new(key.0.serialize_pem()).as_bytes(),
    )?;
    Ok(csr)
}

/// Where the private key of a site lies.
pub fn key_path(dir: &Path) -> PathBuf {
    dir.join(KEY_FILE)
}

fn signing_request(key: &SiteKey, name: &SiteName) -> Result<CsrPem, EnrolError> {
    let mut asked = CertificateParams::default();
    asked.distinguished_name = DistinguishedName::new();
    asked
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    Ok(CsrPem(asked.serialize_request(&key.0)?.pem()?))
}

/// The site's private key, erased when dropped.
struct SiteKey(KeyPair);

impl Drop for SiteKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests;
