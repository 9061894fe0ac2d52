use super::*;

/// One more layer, as an HTTP stack adds it.
#[derive(Debug, thiserror::Error)]
#[error("transport error")]
struct Transport(#[source] io::Error);

fn check(error: rustls::Error, expected: Option<Refusal>) {
    let wrapped = Transport(io::Error::new(io::ErrorKind::InvalidData, error));
    assert_eq!(Refusal::find(&wrapped), expected);
}

#[test]
fn a_refusal_is_found_under_the_layers_of_the_transport() {
    use rustls::Error::{AlertReceived, InvalidCertificate, NoCertificatesPresented};

    check(
        AlertReceived(AlertDescription::CertificateRequired),
        Some(Refusal::OfOurs(Reason::Missing)),
    );
    check(
        AlertReceived(AlertDescription::UnknownCA),
        Some(Refusal::OfOurs(Reason::UnknownAuthority)),
    );
    check(
        AlertReceived(AlertDescription::CertificateExpired),
        Some(Refusal::OfOurs(Reason::NotValidNow)),
    );
    check(
        AlertReceived(AlertDescription::CertificateRevoked),
        Some(Refusal::OfOurs(Reason::Revoked)),
    );
    check(
        NoCertificatesPresented,
        Some(Refusal::OfTheirs(Reason::Missing)),
    );
    check(
        InvalidCertificate(CertificateError::NotValidForName),
        Some(Refusal::OfTheirs(Reason::WrongHost)),
    );
}

#[test]
fn other_failures_are_no_refusals() {
    check(
        rustls::Error::AlertReceived(AlertDescription::InternalError),
        None,
    );
    check(rustls::Error::DecryptError, None);
    assert_eq!(
        Refusal::find(&Transport(io::Error::from(
            io::ErrorKind::ConnectionRefused
        ))),
        None
    );
}

#[test]
fn a_refusal_says_whose_certificate_and_what_to_do() {
    let text = Refusal::OfOurs(Reason::NotValidNow).to_string();
    assert_eq!(
        text,
        "the peer refused our certificate: it has expired or is not valid yet; issue a new one, or set the clock"
    );
}
