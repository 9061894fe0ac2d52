//! PEM files → rustls configurations: TLS 1.3 only, X25519MLKEM768 preferred, certificates on both sides, HTTP/2.
//!
//! A configuration is a value: to take up new certificates or revocations, build another and give it to new
//! connections. This module authenticates the transport; who the peer *is* comes from its certificate (`identity`),
//! what it may do is decided per call elsewhere.
//!
//! Nothing is ever resumed. Resumption would skip the verifier, and with it expiry and revocation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::files::{self, FileError};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What a file holds is of no use.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: Box<TlsError>,
    },
    /// A block of a PEM text is damaged.
    #[error("damaged PEM text ({source}); copy the file again")]
    Pem {
        /// What the parser found.
        source: pem::Error,
    },
    /// There is no certificate.
    #[error("no CERTIFICATE block in the PEM text")]
    NoCertificate,
    /// There is no private key. What the parser found is left out, since it may quote the text.
    #[error(
        "no usable PRIVATE KEY block in the PEM text; it must be unencrypted PKCS#8, SEC1 or PKCS#1"
    )]
    NoKey,
    /// There is no revocation list.
    #[error("no X509 CRL block in the PEM text")]
    NoRevocationList,
    /// A certificate cannot serve as a root.
    #[error("a certificate cannot be used as a root of trust: {source}")]
    Root {
        /// What is wrong with it.
        source: rustls::Error,
    },
    /// The roots or revocation lists cannot be used to verify clients.
    #[error("cannot verify clients with these roots and revocation lists: {source}")]
    Verifier {
        /// What is wrong with them.
        source: VerifierBuilderError,
    },
    /// The certificate and the private key do not fit, or the key is of a kind TLS 1.3 has no use for.
    #[error("the certificate and the private key do not fit each other: {source}")]
    KeyPair {
        /// What is wrong with them.
        source: rustls::Error,
    },
}

/// A certificate chain and the private key of its leaf. No `Debug`, no `Clone`; our copy of the key is erased when
/// dropped.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// Reads both files. The key's must be readable by its owner alone.
    ///
    /// # Errors
    /// [`TlsError::File`], or [`TlsError::Content`] that names the file.
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let key_pem = files::read_secret(key)?;
        let chain_pem = files::read(chain, PEM_BYTES_MAX)?;
        Ok(Self {
            chain: certificates(&chain_pem).map_err(in_file(chain))?,
            key: private_key(&key_pem).map_err(in_file(key))?,
        })
    }

    /// Takes the chain (leaf first) and the key from PEM texts. Other blocks in the same text are passed over.
    ///
    /// # Errors
    /// [`TlsError::Pem`], [`TlsError::NoCertificate`], [`TlsError::NoKey`].
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            chain: certificates(chain_pem)?,
            key: private_key(key_pem)?,
        })
    }

    /// The certificate that belongs to the key.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        self.chain
            .first()
            .expect("a chain without a certificate is refused when it is read")
    }

    /// The whole chain, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Whom to believe: root certificates, and lists of what they have revoked.
#[derive(Clone)]
pub struct Trust {
    roots: Arc<RootCertStore>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    /// Reads the file of roots and any number of files of revocation lists.
    ///
    /// # Errors
    /// [`TlsError::File`], or [`TlsError::Content`] that names the file.
    pub fn load(roots: &Path, revocations: &[PathBuf]) -> Result<Self, TlsError> {
        let roots_pem = files::read(roots, PEM_BYTES_MAX)?;
        let mut trust = Self::from_pem(&roots_pem).map_err(in_file(roots))?;
        for path in revocations {
            let lists_pem = files::read(path, PEM_BYTES_MAX)?;
            trust = trust.with_revocations(&lists_pem).map_err(in_file(path))?;
        }
        Ok(trust)
    }

    /// Takes the roots from a PEM text.
    ///
    /// # Errors
    /// [`TlsError::Pem`], [`TlsError::NoCertificate`], [`TlsError::Root`].
    pub fn from_pem(roots_pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates(roots_pem)? {
            roots
                .add(root)
                .map_err(|source| TlsError::Root { source })?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            revocations: Vec::new(),
        })
    }

    /// Adds the revocation lists of a PEM text.
    ///
    /// From the first list on, every certificate of a chain must be covered by a list of its issuer that has not
    /// expired; without one it is refused.
    ///
    /// # Errors
    /// [`TlsError::Pem`], [`TlsError::NoRevocationList`].
    pub fn with_revocations(mut self, lists_pem: &[u8]) -> Result<Self, TlsError> {
        let lists = blocks::<CertificateRevocationListDer<'static>>(lists_pem)?;
        if lists.is_empty() {
            return Err(TlsError::NoRevocationList);
        }
        self.revocations.extend(lists);
        Ok(self)
    }
}

/// The coordinator's side: every client must show a certificate that `trust` covers.
///
/// # Errors
/// [`TlsError::Verifier`], [`TlsError::KeyPair`].
pub fn server(credentials: &Credentials, trust: &Trust) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = crypto();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(trust.roots.clone(), provider.clone())
            .with_crls(trust.revocations.clone())
            // Left out, an expired list would go on counting.
            .enforce_revocation_expiration()
            .build()
            .map_err(|source| TlsError::Verifier { source })?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())
        .map_err(|source| TlsError::KeyPair { source })?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // No ticket, no cache: each handshake meets the verifier. The default ticketer makes none either.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// The participant's and the operator's side: shows `credentials`, and believes a server whose certificate `trust`
/// covers for the name it was called by.
///
/// # Errors
/// [`TlsError::KeyPair`].
pub fn client(credentials: &Credentials, trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .with_root_certificates(trust.roots.clone())
        .with_client_auth_cert(credentials.chain.clone(), credentials.key.clone_key())
        .map_err(|source| TlsError::KeyPair { source })?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// SHA-256 of a certificate, by which people compare it. Shown and read as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, certificate);
        Self(digest.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// The post-quantum hybrid first, then the classical groups for peers without it; no cipher suite below TLS 1.3.
fn crypto() -> Arc<CryptoProvider> {
    let kx_groups = vec![
        provider::kx_group::X25519MLKEM768,
        provider::kx_group::X25519,
        provider::kx_group::SECP256R1,
        provider::kx_group::SECP384R1,
    ];
    let mut provider = CryptoProvider {
        kx_groups,
        ..provider::default_provider()
    };
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some());
    Arc::new(provider)
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = blocks(text)?;
    if found.is_empty() {
        Err(TlsError::NoCertificate)
    } else {
        Ok(found)
    }
}

fn blocks<T: PemObject>(text: &[u8]) -> Result<Vec<T>, TlsError> {
    T::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { source })
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|_| TlsError::NoKey)
}

/// The private key of a PEM text, erased when dropped.
pub(crate) fn erasable_key(text: &[u8]) -> Result<Zeroizing<PrivateKeyDer<'static>>, TlsError> {
    private_key(text).map(Zeroizing::new)
}

fn in_file(path: &Path) -> impl FnOnce(TlsError) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Content {
        path,
        source: Box::new(source),
    }
}

const ALPN_HTTP2: &[u8] = b"h2";

/// Longest PEM file of certificates or revocation lists: about 100,000 revoked certificates.
const PEM_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests;
