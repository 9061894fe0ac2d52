//! The built-in certificate authority: two files, and one profile per role.
//!
//! It turns a signing request into a certificate that `veilsum_daemon::tls` accepts and `veilsum_daemon::identity` can
//! read. Of a request it believes the key (proved by the request's own signature) and the name; whatever else is asked
//! for is ignored. Who may have a certificate is decided by the person who runs it. It authenticates transport only:
//! the coordinator runs it, so no site trusts it for the identity of a peer.

mod profile;

use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair, PublicKeyData, SanType, SubjectPublicKeyInfo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use veilsum_common::ids::{IdError, SiteName};
use veilsum_common::time::{Span, Timestamp};
use veilsum_daemon::binding::{self, BindingError};
use veilsum_daemon::files::{self, FileError};
use veilsum_daemon::identity::{Federation, IdentityError, PeerIdentity, Role};
use veilsum_daemon::tls::Fingerprint;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::AttributeTypeAndValue;
use zeroize::{Zeroize, Zeroizing};

/// Name of the certificate's file in the authority's directory.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// Name of the private key's file in the authority's directory.
pub const KEY_FILE: &str = "ca.key";

/// Why the authority could not be made or opened, or did not issue.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written, or is there already.
    #[error(transparent)]
    File(#[from] FileError),
    /// The federation's names are not usable.
    #[error(transparent)]
    Federation(#[from] IdentityError),
    /// The certificate file does not hold the certificate of an authority made here.
    #[error("{} is not the certificate of an authority made by `veilsum ca init`", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The key file does not hold the key of the certificate.
    #[error("{} is not the private key of the certificate beside it", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// Not a signing request.
    #[error(
        "this is not a certificate signing request; make one at the site with `veilsum participant csr NAME`"
    )]
    NotARequest,
    /// The request is not signed by the key it asks a certificate for.
    #[error("the signing request is not signed by its own key: who made it need not hold that key")]
    NotPossessed,
    /// The request does not have exactly one common name.
    #[error("the signing request has {have} common names; it needs exactly one, the site's name")]
    CommonNames {
        /// How many it has.
        have: usize,
    },
    /// The common name is not a site's name.
    #[error("the signing request's common name does not serve: {0}")]
    Name(#[from] IdError),
    /// The request's key is of a kind without use here.
    #[error("the signing request's key does not serve: {0}")]
    Key(#[from] BindingError),
    /// A coordinator's certificate needs host names.
    #[error(
        "a coordinator's certificate needs at least one host name or address that sites call it by"
    )]
    NoHosts,
    /// A certificate for clients has no host names.
    #[error("only a coordinator's certificate names hosts; a {role}'s has none")]
    HostsOfAClient {
        /// The role asked for.
        role: Role,
    },
    /// Neither a host name nor an address.
    #[error("`{host}` is neither a host name nor an IP address")]
    Host {
        /// What was given.
        host: String,
    },
    /// A certificate that is valid for no time.
    #[error("a certificate must be valid for some time, for example 7d")]
    NoValidity,
    /// The certificate would be valid longer than the authority's own.
    #[error(
        "the authority's own certificate expires in {}, before a certificate valid for {asked}",
        left
    )]
    OutlivesAuthority {
        /// How long the certificate was to be valid.
        asked: Span,
        /// How long the authority's own is.
        left: Span,
    },
    /// The clock shows a time no certificate can hold.
    #[error("the clock shows a time beyond the year 9999; set it")]
    TimeOutOfRange,
    /// The library could not make or sign a certificate.
    #[error("making the certificate failed: {0}")]
    Library(#[from] rcgen::Error),
}

/// A certificate that was just issued.
#[derive(Clone, Debug)]
pub struct IssuedPem {
    /// The certificate in PEM.
    pub pem: String,
    /// What `veilsum_daemon::identity` reads from it.
    pub identity: PeerIdentity,
    /// When it expires.
    pub not_after: Timestamp,
}

/// A certificate authority that was made or opened. No `Debug`, no `Clone`: it holds the private key.
pub struct Authority {
    federation: Federation,
    certificate: CertificateDer<'static>,
    pem: String,
    not_after: Timestamp,
    key: AuthorityKey,
}

impl Authority {
    /// Makes an authority for a federation: a fresh P-256 key (0600) and a certificate signed by it, in a directory
    /// that is made if need be.
    ///
    /// # Errors
    /// [`CaError::File`] with [`FileError::Exists`] if there is one already: replacing it would cut off every site that
    /// trusts it.
    pub fn init(
        dir: &Path,
        trust_domain: &str,
        federation: &str,
        now: Timestamp,
    ) -> Result<Self, CaError> {
        let federation = Federation::new(trust_domain, federation)?;
        files::private_directory(dir)?;
        let certificate_path = dir.join(CERTIFICATE_FILE);
        if certificate_path.exists() {
            return Err(FileError::Exists {
                path: certificate_path,
            }
            .into());
        }
        let key = AuthorityKey(KeyPair::generate()?);
        let certificate = profile::authority(&federation, now)?.self_signed(&key.0)?;
        files::create_secret(
            &dir.join(KEY_FILE),
            Zeroizing::new(key.0.serialize_pem()).as_bytes(),
        )?;
        files::create_atomic(&certificate_path, certificate.pem().as_bytes())?;
        Self::open(dir)
    }

    /// Opens the authority in a directory.
    ///
    /// # Errors
    /// [`CaError::File`], [`CaError::NotAnAuthority`], [`CaError::OtherKey`].
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join(CERTIFICATE_FILE);
        let not_an_authority = || CaError::NotAnAuthority { path: path.clone() };
        let pem = String::from_utf8(files::read(&path, PEM_BYTES_MAX)?)
            .map_err(|_| not_an_authority())?;
        let certificate =
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| not_an_authority())?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| not_an_authority())?;
        let federation = federation_of(&parsed).ok_or_else(not_an_authority)?;
        let not_after = expiry_of(&parsed);

        let key_path = dir.join(KEY_FILE);
        let key = AuthorityKey::read(&key_path)?;
        if key.0.subject_public_key_info() != parsed.public_key().raw {
            return Err(CaError::OtherKey { path: key_path });
        }
        Ok(Self {
            federation,
            certificate,
            pem,
            not_after,
            key,
        })
    }

    /// Issues a certificate for the key and the common name of a signing request, from `now` (less five minutes, for
    /// clocks that are behind) for `validity`.
    ///
    /// `hosts` are the names and addresses a coordinator is called by; for every other role it is empty.
    ///
    /// # Errors
    /// [`CaError`]; nothing is issued then.
    pub fn issue(
        &self,
        csr_pem: &str,
        role: Role,
        hosts: &[String],
        validity: Span,
        now: Timestamp,
    ) -> Result<IssuedPem, CaError> {
        let Request { name, key } = Request::parse(csr_pem)?;
        let not_after = self.expiry(validity, now)?;
        let mut leaf = profile::leaf(&name, role, hosts)?;
        let uri = self.federation.uri(role, &name).try_into()?;
        leaf.subject_alt_names.push(SanType::URI(uri));
        profile::set_validity(&mut leaf, now, not_after)?;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key.0)?;
        let certificate = leaf.signed_by(&key, &issuer)?;
        let identity = PeerIdentity::from_leaf(certificate.der(), &self.federation)?;
        Ok(IssuedPem {
            pem: certificate.pem(),
            identity,
            not_after,
        })
    }

    /// The federation it issues for.
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// Its own certificate in PEM: what sites and the coordinator trust.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of its own certificate, to be compared by people.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    fn expiry(&self, validity: Span, now: Timestamp) -> Result<Timestamp, CaError> {
        if validity == Span(0) {
            return Err(CaError::NoValidity);
        }
        let not_after = now + validity;
        if not_after > self.not_after {
            return Err(CaError::OutlivesAuthority {
                asked: validity,
                left: self.not_after.since(now),
            });
        }
        Ok(not_after)
    }
}

/// What is believed of a signing request.
struct Request {
    name: SiteName,
    key: SubjectPublicKeyInfo,
}

impl Request {
    fn parse(pem: &str) -> Result<Self, CaError> {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| CaError::NotARequest)?;
        let (rest, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| CaError::NotARequest)?;
        if !rest.is_empty() {
            return Err(CaError::NotARequest);
        }
        let info = &request.certification_request_info;
        binding::check_key(info.subject_pki.raw)?;
        request
            .verify_signature()
            .map_err(|_| CaError::NotPossessed)?;
        let names: Vec<_> = info
            .subject
            .iter_common_name()
            .map(AttributeTypeAndValue::as_str)
            .collect();
        let [Ok(name)] = names.as_slice() else {
            return Err(CaError::CommonNames { have: names.len() });
        };
        Ok(Self {
            name: name.parse()?,
            key: SubjectPublicKeyInfo::from_der(info.subject_pki.raw)?,
        })
    }
}

/// The authority's private key, erased when dropped.
struct AuthorityKey(KeyPair);

impl AuthorityKey {
    fn read(path: &Path) -> Result<Self, CaError> {
        let pem = files::read_secret(path)?;
        let key = std::str::from_utf8(&pem)
            .ok()
            .and_then(|pem| KeyPair::from_pem(pem).ok());
        key.map(Self)
            .ok_or_else(|| CaError::OtherKey { path: path.into() })
    }
}

impl Drop for AuthorityKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn federation_of(certificate: &X509Certificate<'_>) -> Option<Federation> {
    let constraints = certificate.basic_constraints().ok()??;
    if !constraints.value.ca {
        return None;
    }
    let subject = certificate.subject();
    let trust_domain = subject.iter_organization().next()?.as_str().ok()?;
    let name = subject.iter_organizational_unit().next()?.as_str().ok()?;
    Federation::new(trust_domain, name).ok()
}

fn expiry_of(certificate: &X509Certificate<'_>) -> Timestamp {
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Timestamp(0) + Span::from_secs(seconds)
}

/// Longest certificate file.
const PEM_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
