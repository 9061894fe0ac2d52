//! What the authority writes into a certificate: one profile for itself, one per role.
//!
//! Nothing of a signing request comes here but the name.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::ServerName;
use veilsum_common::ids::SiteName;
use veilsum_common::time::{Span, Timestamp};
use veilsum_daemon::entropy;
use veilsum_daemon::identity::{Federation, Role};

use super::CaError;

/// May sign certificates, of leaves only, and lists of revoked ones, and nothing else. Its subject says for whom, and is unlike that of any other
/// authority.
pub(super) fn authority(
    federation: &Federation,
    now: Timestamp,
) -> Result<CertificateParams, CaError> {
    let serial = random_serial();
    let mut profile = CertificateParams::default();
    profile.distinguished_name = DistinguishedName::new();
    profile
        .distinguished_name
        .push(DnType::OrganizationName, federation.trust_domain());
    profile
        .distinguished_name
        .push(DnType::OrganizationalUnitName, federation.name());
    profile
        .distinguished_name
        .push(DnType::CommonName, format!("veilsum authority {serial}"));
    profile.serial_number = Some(serial);
    profile.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    profile.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut profile, now, now + AUTHORITY_LIFE)?;
    Ok(profile)
}

/// Everything but the URI name and the dates: what the role may use the certificate for, and under which host names.
pub(super) fn leaf(
    name: &SiteName,
    role: Role,
    hosts: &[String],
) -> Result<CertificateParams, CaError> {
    let mut profile = CertificateParams::default();
    profile.distinguished_name = DistinguishedName::new();
    profile
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    profile.serial_number = Some(random_serial());
    profile.is_ca = IsCa::ExplicitNoCa;
    profile.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    profile.use_authority_key_identifier_extension = true;
    let usage = match role {
        Role::Coordinator if hosts.is_empty() => return Err(CaError::NoHosts),
        Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
        Role::Participant | Role::Operator | Role::Auditor if !hosts.is_empty() => {
            return Err(CaError::HostsOfAClient { role });
        }
        Role::Participant | Role::Operator | Role::Auditor => ExtendedKeyUsagePurpose::ClientAuth,
    };
    profile.extended_key_usages = vec![usage];
    profile.subject_alt_names = hosts
        .iter()
        .map(|host| host_name(host))
        .collect::<Result<_, _>>()?;
    Ok(profile)
}

fn host_name(host: &str) -> Result<SanType, CaError> {
    match ServerName::try_from(host) {
        Ok(ServerName::DnsName(name)) => Ok(SanType::DnsName(name.as_ref().try_into()?)),
        Ok(ServerName::IpAddress(address)) => Ok(SanType::IpAddress(address.into())),
        _ => Err(CaError::Host {
            host: host.escape_debug().to_string(),
        }),
    }
}

/// 126 random bits behind a one: positive, of constant length, and not to be guessed.
fn random_serial() -> SerialNumber {
    let mut bytes = entropy::bytes::<16>();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(bytes.as_slice())
}

/// Valid from five minutes before `now` until `until`. A certificate's dates have whole seconds; what is below is cut
/// off.
pub(super) fn set_validity(
    profile: &mut CertificateParams,
    now: Timestamp,
    until: Timestamp,
) -> Result<(), CaError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let date_time = |time: Timestamp| {
        let since_epoch = Duration::from_millis(time.0).try_into().ok()?;
        epoch.checked_add(since_epoch)
    };
    let from = Timestamp(now.0.saturating_sub(BACKDATED.0));
    profile.not_before = date_time(from).ok_or(CaError::TimeOutOfRange)?;
    profile.not_after = date_time(until).ok_or(CaError::TimeOutOfRange)?;
    Ok(())
}

/// Ten years: the authority outlives its federation's studies; a shorter life would need roots that overlap.
pub(super) const AUTHORITY_LIFE: Span = Span::from_secs(10 * 365 * 24 * 60 * 60);

/// A site's clock may be this far behind ours.
pub(super) const BACKDATED: Span = Span::from_secs(5 * 60);
