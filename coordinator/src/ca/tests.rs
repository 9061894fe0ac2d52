use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, RootCertStore};
use x509_parser::extensions::GeneralName;

use super::profile::{AUTHORITY_LIFE, BACKDATED};
use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const WEEK: Span = Span::from_secs(7 * 24 * 60 * 60);

fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::init(dir.path(), "example.org", "cancer-study", NOW).unwrap();
    (dir, authority)
}

fn request_with(edit: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "hospital-a");
    edit(&mut params);
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}

fn request() -> String {
    request_with(|_| ())
}

fn der(issued: &IssuedPem) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.pem.as_bytes()).unwrap()
}

fn refusal(csr: &str, role: Role, hosts: &[String], validity: Span) -> CaError {
    authority()
        .1
        .issue(csr, role, hosts, validity, NOW)
        .unwrap_err()
}

#[test]
fn an_authority_is_two_files_and_only_its_owner_reads_the_key() {
    let (dir, authority) = authority();
    let mode = fs::metadata(dir.path().join(KEY_FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = Authority::open(dir.path()).unwrap();
    assert_eq!(again.fingerprint(), authority.fingerprint());
    assert_eq!(
        again.federation(),
        &Federation::new("example.org", "cancer-study").unwrap()
    );
    assert_eq!(
        fs::read_to_string(dir.path().join(CERTIFICATE_FILE)).unwrap(),
        again.certificate_pem()
    );
}

#[test]
fn its_certificate_may_sign_leaves_and_revocation_lists_and_nothing_else() {
    let (_dir, authority) = authority();
    let (_, parsed) = X509Certificate::from_der(&authority.certificate).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = parsed.key_usage().unwrap().unwrap();
    assert_eq!(
        usage.value.flags,
        1 << 5 | 1 << 6,
        "keyCertSign and cRLSign are bits 5 and 6, and the only ones"
    );
    assert_eq!(authority.not_after, NOW + AUTHORITY_LIFE);
}

#[test]
fn an_authority_is_never_overwritten() {
    let (dir, authority) = authority();
    let again = Authority::init(dir.path(), "example.org", "cancer-study", NOW);
    assert!(matches!(
        again,
        Err(CaError::File(FileError::Exists { .. }))
    ));
    fs::remove_file(dir.path().join(CERTIFICATE_FILE)).unwrap();
    let again = Authority::init(dir.path(), "example.org", "cancer-study", NOW);
    assert!(
        matches!(again, Err(CaError::File(FileError::Exists { .. }))),
        "the key alone counts, too"
    );
    fs::write(
        dir.path().join(CERTIFICATE_FILE),
        authority.certificate_pem(),
    )
    .unwrap();
    Authority::open(dir.path()).unwrap();
}

#[test]
fn files_that_do_not_make_an_authority_are_refused() {
    let (dir, _) = authority();
    let (other, _) = authority();
    let key = dir.path().join(KEY_FILE);
    fs::copy(other.path().join(KEY_FILE), &key).unwrap();
    assert!(matches!(
        Authority::open(dir.path()),
        Err(CaError::OtherKey { .. })
    ));
    fs::write(&key, "no key").unwrap();
    assert!(matches!(
        Authority::open(dir.path()),
        Err(CaError::OtherKey { .. })
    ));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        Authority::open(dir.path()),
        Err(CaError::File(FileError::Exposed { .. }))
    ));
    fs::write(dir.path().join(CERTIFICATE_FILE), "no certificate").unwrap();
    assert!(matches!(
        Authority::open(dir.path()),
        Err(CaError::NotAnAuthority { .. })
    ));
    let bad_name = Authority::init(&dir.path().join("new"), "Example.org", "study", NOW);
    assert!(matches!(
        bad_name,
        Err(CaError::Federation(IdentityError::TrustDomain))
    ));
}

#[test]
fn a_site_gets_a_certificate_for_clients_with_one_uri_name() {
    let (_dir, authority) = authority();
    for role in [Role::Participant, Role::Operator, Role::Auditor] {
        let issued = authority.issue(&request(), role, &[], WEEK, NOW).unwrap();
        let der = der(&issued);
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        let names = &parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        let uri = format!("spiffe://example.org/veilsum/cancer-study/{role}/hospital-a");
        assert_eq!(names, &[GeneralName::URI(&uri)]);
        assert!(!parsed.is_ca());
        assert_eq!(issued.identity.role, role);
        assert_eq!(issued.identity.name.as_str(), "hospital-a");
        assert_eq!(issued.identity.serial.as_bytes().len(), 16);
    }
}

#[test]
fn a_coordinator_gets_a_certificate_for_servers_with_its_hosts() {
    let (_dir, authority) = authority();
    let hosts = ["coord.example.org", "127.0.0.1", "::1"].map(str::to_owned);
    let issued = authority
        .issue(&request(), Role::Coordinator, &hosts, WEEK, NOW)
        .unwrap();
    let der = der(&issued);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    let names = &parsed
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names[0], GeneralName::DNSName("coord.example.org"));
    assert_eq!(names[1], GeneralName::IPAddress(&[127, 0, 0, 1]));
    assert_eq!(names.len(), 4);
    assert_eq!(issued.identity.role, Role::Coordinator);
}

#[test]
fn dates_and_serial_numbers_are_the_authority_s_own() {
    let (_dir, authority) = authority();
    let one = authority
        .issue(&request(), Role::Participant, &[], WEEK, NOW)
        .unwrap();
    let two = authority
        .issue(&request(), Role::Participant, &[], WEEK, NOW)
        .unwrap();
    assert_ne!(one.identity.serial, two.identity.serial);
    assert_eq!(one.not_after, NOW + WEEK);
    let der = der(&one);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(
        parsed.validity().not_before.timestamp(),
        1_800_000_000 - 300
    );
    assert_eq!(
        parsed.validity().not_after.timestamp(),
        1_800_000_000 + 7 * 24 * 60 * 60
    );
}

#[test]
fn whatever_else_a_request_asks_for_is_ignored() {
    let (_dir, authority) = authority();
    let greedy = request_with(|params| {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "somebody else");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::Any,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let other = "spiffe://example.org/veilsum/cancer-study/operator/eve";
        params.subject_alt_names = vec![
            SanType::URI(other.try_into().unwrap()),
            SanType::DnsName("coord.example.org".try_into().unwrap()),
        ];
        params.custom_extensions =
            vec![CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0])];
    });
    let issued = authority
        .issue(&greedy, Role::Participant, &[], WEEK, NOW)
        .unwrap();
    let der = der(&issued);
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    assert!(!parsed.is_ca());
    assert_eq!(parsed.subject().iter_organization().count(), 0);
    assert_eq!(
        parsed
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names
            .len(),
        1
    );
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert!(
        !parsed
            .extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    assert_eq!(
        parsed.extensions().len(),
        6,
        "key use, extended key use, names, constraints, two key identifiers"
    );
}

#[test]
fn a_certificate_counts_for_its_authority_and_its_time_only() {
    let (_other_dir, other) = authority();
    let (_dir, authority) = authority();
    let issued = authority
        .issue(&request(), Role::Participant, &[], WEEK, NOW)
        .unwrap();
    let check = |trusted: &Authority, at: Timestamp| {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
        verifier
            .verify_client_cert(&der(&issued), &[], at)
            .map(|_| ())
    };
    check(&authority, NOW).unwrap();
    check(&authority, Timestamp(NOW.0 - BACKDATED.0)).unwrap();
    let late = check(&authority, NOW + WEEK + Span::from_secs(1)).unwrap_err();
    assert!(matches!(
        late,
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
    ));
    let foreign = check(&other, NOW).unwrap_err();
    assert_eq!(
        foreign,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)
    );
}

/// Asks for a certificate over a key that is not its own.
struct Thief {
    shown: KeyPair,
    own: KeyPair,
}

impl PublicKeyData for Thief {
    fn der_bytes(&self) -> &[u8] {
        self.shown.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.shown.algorithm()
    }
}

impl SigningKey for Thief {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.own.sign(message)
    }
}

#[test]
fn a_request_that_its_own_key_did_not_sign_is_refused() {
    let thief = Thief {
        shown: KeyPair::generate().unwrap(),
        own: KeyPair::generate().unwrap(),
    };
    let csr = CertificateParams::default()
        .serialize_request(&thief)
        .unwrap()
        .pem()
        .unwrap();
    assert!(matches!(
        refusal(&csr, Role::Participant, &[], WEEK),
        CaError::NotPossessed
    ));
}

#[test]
fn a_request_without_one_good_name_is_refused() {
    let check = |csr: String| refusal(&csr, Role::Participant, &[], WEEK);
    let nameless = request_with(|params| params.distinguished_name = DistinguishedName::new());
    assert!(matches!(check(nameless), CaError::CommonNames { have: 0 }));
    let bad = request_with(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "Hospital A/operator")
    });
    assert!(matches!(check(bad), CaError::Name(_)));
    assert!(matches!(check("no request".into()), CaError::NotARequest));
}

#[test]
fn a_key_that_can_make_no_identity_binding_is_refused() {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "hospital-a");
    let csr = |algorithm| {
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    };
    let (_dir, authority) = authority();
    authority
        .issue(&csr(&PKCS_ED25519), Role::Participant, &[], WEEK, NOW)
        .unwrap();
    let refused = refusal(&csr(&PKCS_ECDSA_P521_SHA512), Role::Participant, &[], WEEK);
    assert!(matches!(
        refused,
        CaError::Key(BindingError::UnsupportedKey)
    ));
}

#[test]
fn hosts_are_for_coordinators_and_coordinators_have_hosts() {
    let host = || vec!["coord.example.org".to_owned()];
    let check = |role, hosts: Vec<String>| refusal(&request(), role, &hosts, WEEK);
    assert!(matches!(check(Role::Coordinator, vec![]), CaError::NoHosts));
    assert!(matches!(
        check(Role::Participant, host()),
        CaError::HostsOfAClient {
            role: Role::Participant
        }
    ));
    for bad in [
        "",
        "not a host",
        "https://coord.example.org",
        "coord.example.org:8443",
    ] {
        assert!(
            matches!(
                check(Role::Coordinator, vec![bad.to_owned()]),
                CaError::Host { .. }
            ),
            "{bad}"
        );
    }
}

#[test]
fn a_certificate_is_valid_for_some_time_and_not_longer_than_its_authority() {
    let check = |validity| refusal(&request(), Role::Participant, &[], validity);
    assert!(matches!(check(Span(0)), CaError::NoValidity));
    let error = check(AUTHORITY_LIFE + Span(1000));
    assert!(matches!(error, CaError::OutlivesAuthority { left, .. } if left == AUTHORITY_LIFE));
    assert!(matches!(
        check(Span(u64::MAX)),
        CaError::OutlivesAuthority { .. }
    ));
    let dir = tempfile::tempdir().unwrap();
    let never = Authority::init(dir.path(), "example.org", "study", Timestamp(u64::MAX));
    assert!(matches!(never, Err(CaError::TimeOutOfRange)));
}
