//! Why a TLS handshake failed, in words that name the certificate's fault and the remedy.
//!
//! In TLS 1.3 a client finishes its handshake before the server has judged its certificate: the refusal arrives as an
//! alert with the first read, wrapped in whatever the HTTP stack makes of it. [`Refusal::find`] digs it out again. A
//! refusal is never worth a retry with the same certificate.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Which of the two ends refused the other's certificate, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The other end refused the certificate shown to it.
    #[error("the peer refused our certificate: {0}")]
    OfOurs(Reason),
    /// This end refused the certificate it was shown.
    #[error("the peer's certificate is refused: {0}")]
    OfTheirs(Reason),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// None was shown.
    #[error("none was shown, and one is required; configure certificate and key")]
    Missing,
    /// No configured root issued it, or its revocation cannot be checked.
    #[error(
        "it was not issued by an authority that is trusted there, or its revocation cannot be checked; compare the CA fingerprints"
    )]
    UnknownAuthority,
    /// It is not valid now.
    #[error("it has expired or is not valid yet; issue a new one, or set the clock")]
    NotValidNow,
    /// It was revoked.
    #[error("it was revoked; ask the operator of the federation")]
    Revoked,
    /// It was issued for something else.
    #[error("it was issued for another use (a client needs clientAuth, a coordinator serverAuth)")]
    WrongUse,
    /// It does not name the host that was called.
    #[error(
        "it is not for the host name that was called; issue one with this name, or call it by a name it has"
    )]
    WrongHost,
    /// It is damaged, its signature is wrong, or something in it is not understood.
    #[error("it is damaged, wrongly signed or of a kind that is not understood")]
    Unusable,
}

impl Refusal {
    /// The refusal behind any error of the transport, if that is what it is.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        for _ in 0..CAUSES_MAX {
            let cause = next?;
            if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
                return Self::of(tls);
            }
            // `source` of an I/O error skips the error it wraps.
            next = match cause
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref)
            {
                Some(wrapped) => Some(wrapped),
                None => cause.source(),
            };
        }
        None
    }

    fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::AlertReceived(alert) => Reason::of_alert(*alert).map(Self::OfOurs),
            rustls::Error::NoCertificatesPresented => Some(Self::OfTheirs(Reason::Missing)),
            rustls::Error::InvalidCertificate(fault) => {
                Some(Self::OfTheirs(Reason::of_fault(fault)))
            }
            rustls::Error::InvalidCertRevocationList(_) => {
                Some(Self::OfTheirs(Reason::UnknownAuthority))
            }
            _ => None,
        }
    }
}

impl Reason {
    fn of_alert(alert: AlertDescription) -> Option<Self> {
        Some(match alert {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
                Self::Missing
            }
            AlertDescription::UnknownCA => Self::UnknownAuthority,
            AlertDescription::CertificateExpired => Self::NotValidNow,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::UnsupportedCertificate => Self::WrongUse,
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError => Self::Unusable,
            _ => return None,
        })
    }

    fn of_fault(fault: &CertificateError) -> Self {
        match fault {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::NotValidNow,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer
            | CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongUse
            }
            _ => Self::Unusable,
        }
    }
}

/// More layers than any stack wraps around an error.
const CAUSES_MAX: usize = 16;

#[cfg(test)]
mod tests;
