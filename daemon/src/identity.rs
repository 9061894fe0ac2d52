//! Who a peer is: read from the one URI name of its verified certificate, and from nowhere else.
//!
//! `spiffe://<trust-domain>/veilsum/<federation>/<role>/<name>`, all lower-case, exactly one. TLS has verified chain,
//! use, validity and revocation before; what a role may do is decided per call elsewhere.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use veilsum_common::ids::SiteName;
use veilsum_common::time::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate gives no identity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("the certificate cannot be parsed")]
    Malformed,
    /// No URI name at all.
    #[error("the certificate has no URI name; it needs exactly one, {FORM}")]
    NoName,
    /// Several URI names: which one counts would be a matter of taste.
    #[error("the certificate has {have} URI names; it needs exactly one, {FORM}")]
    SeveralNames {
        /// How many.
        have: usize,
    },
    /// The URI name is not one of ours.
    #[error("the certificate's URI name {found} is not of the form {FORM}")]
    NotOurForm {
        /// The name, shortened and escaped.
        found: String,
    },
    /// The role is none of the four.
    #[error(
        "the certificate's URI name has a role that is not participant, operator, coordinator or auditor"
    )]
    UnknownRole,
    /// The certificate belongs to another federation.
    #[error("the certificate is for {found}, this is {expected}")]
    OtherFederation {
        /// The federation it names.
        found: Federation,
        /// The federation it should name.
        expected: Federation,
    },
    /// Not a trust domain.
    #[error(
        "a trust domain has 1 to {TRUST_DOMAIN_BYTES_MAX} characters of a-z, 0-9, `.`, `-` and `_`"
    )]
    TrustDomain,
    /// Not a name of a federation.
    #[error(
        "a federation's name has 1 to 63 characters of a-z, 0-9 and `-`, and begins with a letter or a digit"
    )]
    FederationName,
}

/// A federation and the domain of trust it lives in. Two certificates of one federation agree in both.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Federation {
    trust_domain: String,
    name: String,
}

impl Federation {
    /// Checks both names.
    ///
    /// # Errors
    /// [`IdentityError::TrustDomain`], [`IdentityError::FederationName`].
    pub fn new(trust_domain: &str, name: &str) -> Result<Self, IdentityError> {
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if trust_domain.is_empty()
            || trust_domain.len() > TRUST_DOMAIN_BYTES_MAX
            || !trust_domain.bytes().all(allowed)
        {
            return Err(IdentityError::TrustDomain);
        }
        // The same alphabet as a site's name, since both are segments of one path.
        SiteName::from_str(name).map_err(|_| IdentityError::FederationName)?;
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The federation of a certificate: a process takes its own from its own certificate.
    ///
    /// # Errors
    /// [`IdentityError`], as [`PeerIdentity::from_leaf`].
    pub fn of_leaf(leaf: &[u8]) -> Result<Self, IdentityError> {
        Ok(parse(leaf)?.0)
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The federation's own name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URI name of a member.
    pub fn uri(&self, role: Role, name: &SiteName) -> String {
        format!("{self}/{role}/{name}")
    }
}

impl fmt::Display for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{PRODUCT}/{}", self.trust_domain, self.name)
    }
}

/// What a certificate lets its holder act as.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// A site that trains.
    Participant,
    /// A person or program that starts and stops runs.
    Operator,
    /// The server.
    Coordinator,
    /// A person or program that only reads.
    Auditor,
}

impl Role {
    /// The word in a certificate's URI name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Operator => "operator",
            Self::Coordinator => "coordinator",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        [
            Self::Participant,
            Self::Operator,
            Self::Coordinator,
            Self::Auditor,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or(IdentityError::UnknownRole)
    }
}

/// A certificate's serial number, by which its issuer revokes it. Shown as hexadecimal digits.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// The number, most significant byte first.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PeerIdentity {
    /// What it may act as.
    pub role: Role,
    /// Its name within the federation.
    pub name: SiteName,
    /// The serial number of the certificate that says so.
    pub serial: Serial,
}

impl PeerIdentity {
    /// Reads the identity from a certificate in DER that TLS has verified.
    ///
    /// # Errors
    /// [`IdentityError`]: the certificate names nobody, several, somebody in another form, or a member of another
    /// federation.
    ///
    /// # Security
    /// Says nothing about who signed the certificate; a leaf that was not verified gives an identity that was not
    /// verified.
    pub fn from_leaf(leaf: &[u8], federation: &Federation) -> Result<Self, IdentityError> {
        let (found, identity) = parse(leaf)?;
        if found != *federation {
            return Err(IdentityError::OtherFederation {
                found,
                expected: federation.clone(),
            });
        }
        Ok(identity)
    }
}

/// The first moment at which a certificate in DER is no longer valid. TLS looks only while hands are shaken.
///
/// # Errors
/// [`IdentityError::Malformed`].
pub fn expiry(leaf: &[u8]) -> Result<Timestamp, IdentityError> {
    let last_second = certificate(leaf)?.validity().not_after.timestamp();
    let first_after = u64::try_from(last_second).map_or(0, |second| second.saturating_add(1));
    Ok(Timestamp(first_after.saturating_mul(1000)))
}

fn certificate(leaf: &[u8]) -> Result<X509Certificate<'_>, IdentityError> {
    match X509Certificate::from_der(leaf) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(IdentityError::Malformed),
    }
}

fn parse(leaf: &[u8]) -> Result<(Federation, PeerIdentity), IdentityError> {
    let certificate = certificate(leaf)?;
    let uri = only_uri(&certificate)?;
    let (federation, role, name) = split(uri)?;
    Ok((
        federation,
        PeerIdentity {
            role,
            name,
            serial: Serial(certificate.raw_serial().to_vec()),
        },
    ))
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| IdentityError::Malformed)?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    if names
        .iter()
        .any(|name| matches!(name, GeneralName::Invalid(..)))
    {
        return Err(IdentityError::Malformed);
    }
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let first = uris.next().ok_or(IdentityError::NoName)?;
    match uris.count() {
        0 => Ok(first),
        others => Err(IdentityError::SeveralNames { have: others + 1 }),
    }
}

fn split(uri: &str) -> Result<(Federation, Role, SiteName), IdentityError> {
    let not_our_form = || IdentityError::NotOurForm { found: shown(uri) };
    let path = uri.strip_prefix(SCHEME).ok_or_else(not_our_form)?;
    let mut segments = path.split('/');
    let (Some(trust_domain), Some(PRODUCT), Some(federation), Some(role), Some(name), None) = (
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
        segments.next(),
    ) else {
        return Err(not_our_form());
    };
    let federation = Federation::new(trust_domain, federation).map_err(|_| not_our_form())?;
    let name = SiteName::from_str(name).map_err(|_| not_our_form())?;
    Ok((federation, role.parse()?, name))
}

/// What a stranger wrote, fit for a log line.
fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS)
        .flat_map(char::escape_debug)
        .collect()
}

const SCHEME: &str = "spiffe://";
const PRODUCT: &str = "veilsum";
const FORM: &str = "spiffe://<trust-domain>/veilsum/<federation>/<role>/<name>";

/// The limit of the SPIFFE standard.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Enough to recognise a name by.
const SHOWN_CHARS: usize = 120;

#[cfg(test)]
mod tests;
