use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::{ClientConnection, NamedGroup, ProtocolVersion, ServerConnection};

use super::*;
use crate::refusal::{Reason, Refusal};

/// A certificate authority of a test.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn issue(&self, params: &CertificateParams) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Credentials::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::from_pem(self.pem.as_bytes()).unwrap()
    }

    /// A list that revokes `serial` and is good until the year given.
    fn revocations(&self, serial: u8, good_until_year: i32) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[serial]),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(good_until_year, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn server_leaf() -> CertificateParams {
    let mut params =
        CertificateParams::new(["coord.example.org".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn client_leaf(serial: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&[serial]));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let uri = "spiffe://example.org/veilsum/study/participant/hospital-a";
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params
}

/// Passes bytes both ways until neither side has more to say, or one refuses; the refused side then reads its alert.
fn handshake(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            if let Err(error) = server.process_new_packets() {
                deliver_alert(server, client);
                return Err(error);
            }
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut unread = bytes.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

fn deliver_alert(server: &mut ServerConnection, client: &mut ClientConnection) {
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    client.read_tls(&mut bytes.as_slice()).unwrap();
    let alert = client.process_new_packets().unwrap_err();
    let refusal = Refusal::find(&alert).expect("an alert about the certificate");
    assert!(matches!(refusal, Refusal::OfOurs(_)), "{refusal}");
}

fn connect(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    host: &str,
) -> Result<(ServerConnection, ClientConnection), Refusal> {
    let mut server = ServerConnection::new(server).unwrap();
    let mut client = ClientConnection::new(client, host.to_owned().try_into().unwrap()).unwrap();
    match handshake(&mut client, &mut server) {
        Ok(()) => Ok((server, client)),
        Err(error) => {
            Err(Refusal::find(&error).unwrap_or_else(|| panic!("not about a certificate: {error}")))
        }
    }
}

/// What comes of a client with this leaf, issued by `issuer`, at a server that trusts `authority`.
fn check_client(
    authority: &Authority,
    issuer: &Authority,
    leaf: &CertificateParams,
    expected: Result<(), Reason>,
) {
    let server = server(&authority.issue(&server_leaf()), &authority.trust()).unwrap();
    let client = client(&issuer.issue(leaf), &authority.trust()).unwrap();
    let outcome = connect(server, client, "coord.example.org");
    assert_eq!(outcome.map(|_| ()), expected.map_err(Refusal::OfTheirs));
}

#[test]
fn both_sides_agree_on_tls_1_3_http2_and_the_post_quantum_hybrid_and_nothing_is_resumed() {
    let authority = Authority::new("ca");
    let server = server(&authority.issue(&server_leaf()), &authority.trust()).unwrap();
    let client = client(&authority.issue(&client_leaf(1)), &authority.trust()).unwrap();
    // The second time, too, everything is negotiated and verified afresh.
    for _ in 0..2 {
        let (server, client) =
            connect(server.clone(), client.clone(), "coord.example.org").unwrap();
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            server.negotiated_key_exchange_group().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        assert_eq!(
            client.negotiated_key_exchange_group().unwrap().name(),
            NamedGroup::X25519MLKEM768
        );
        assert_eq!(server.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(server.alpn_protocol(), Some(b"h2".as_slice()));
        assert_eq!(client.tls13_tickets_received(), 0);
        assert!(server.peer_certificates().is_some());
    }
}

#[test]
fn a_server_is_believed_for_the_names_and_addresses_of_its_certificate_only() {
    let authority = Authority::new("ca");
    let server = server(&authority.issue(&server_leaf()), &authority.trust()).unwrap();
    let client = client(&authority.issue(&client_leaf(1)), &authority.trust()).unwrap();
    for host in ["coord.example.org", "127.0.0.1"] {
        connect(server.clone(), client.clone(), host).unwrap();
    }
    for host in ["other.example.org", "127.0.0.2"] {
        let refusal = connect(server.clone(), client.clone(), host)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refusal, Refusal::OfTheirs(Reason::WrongHost));
    }
}

#[test]
fn a_server_of_a_foreign_authority_or_with_a_client_s_certificate_is_refused() {
    let (authority, foreign) = (Authority::new("ca"), Authority::new("foreign"));
    let client = client(&authority.issue(&client_leaf(1)), &authority.trust()).unwrap();
    let impostor = server(&foreign.issue(&server_leaf()), &authority.trust()).unwrap();
    let refusal = connect(impostor, client.clone(), "coord.example.org")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refusal, Refusal::OfTheirs(Reason::UnknownAuthority));

    let mut leaf = server_leaf();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let impostor = server(&authority.issue(&leaf), &authority.trust()).unwrap();
    let refusal = connect(impostor, client, "coord.example.org")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refusal, Refusal::OfTheirs(Reason::WrongUse));
}

#[test]
fn a_client_of_the_authority_is_let_in() {
    let authority = Authority::new("ca");
    check_client(&authority, &authority, &client_leaf(1), Ok(()));
}

#[test]
fn t47_a_client_of_a_foreign_authority_is_refused() {
    let (authority, foreign) = (Authority::new("ca"), Authority::new("foreign"));
    check_client(
        &authority,
        &foreign,
        &client_leaf(1),
        Err(Reason::UnknownAuthority),
    );
}

#[test]
fn t47_without_telling_authorities_apart_a_client_of_a_foreign_one_is_let_in() {
    let (authority, foreign) = (Authority::new("ca"), Authority::new("foreign"));
    let either = Trust::from_pem(format!("{}{}", authority.pem, foreign.pem).as_bytes()).unwrap();
    let server = server(&authority.issue(&server_leaf()), &either).unwrap();
    let client = client(&foreign.issue(&client_leaf(1)), &authority.trust()).unwrap();
    let (server, _) = connect(server, client, "coord.example.org").unwrap();
    assert!(server.peer_certificates().is_some());
}

#[test]
fn a_client_whose_certificate_has_expired_or_is_not_valid_yet_is_refused() {
    let authority = Authority::new("ca");
    let mut leaf = client_leaf(1);
    leaf.not_after = date_time_ymd(2020, 1, 1);
    check_client(&authority, &authority, &leaf, Err(Reason::NotValidNow));
    let mut leaf = client_leaf(1);
    leaf.not_before = date_time_ymd(4000, 1, 1);
    check_client(&authority, &authority, &leaf, Err(Reason::NotValidNow));
}

#[test]
fn a_client_with_a_server_s_certificate_is_refused() {
    let authority = Authority::new("ca");
    check_client(
        &authority,
        &authority,
        &server_leaf(),
        Err(Reason::WrongUse),
    );
}

#[test]
fn t47_a_client_without_a_certificate_is_refused() {
    let authority = Authority::new("ca");
    let server = server(&authority.issue(&server_leaf()), &authority.trust()).unwrap();
    let refusal = connect(server, nameless(&authority), "coord.example.org")
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refusal, Refusal::OfTheirs(Reason::Missing));
}

#[test]
fn t47_without_asking_for_certificates_a_client_that_has_none_is_let_in() {
    let authority = Authority::new("ca");
    let credentials = authority.issue(&server_leaf());
    let trusting = ServerConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(credentials.chain.clone(), credentials.key.clone_key())
        .unwrap();
    let client = nameless(&authority);
    let (server, _) = connect(Arc::new(trusting), client, "coord.example.org").unwrap();
    assert!(server.peer_certificates().is_none());
}

/// A client that shows no certificate, whoever asks.
fn nameless(authority: &Authority) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(authority.trust().roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn a_revoked_client_is_refused_and_so_is_everybody_once_the_list_has_expired() {
    let authority = Authority::new("ca");
    let connect_with = |list: String, serial: u8| {
        let trust = authority.trust().with_revocations(list.as_bytes()).unwrap();
        let server = server(&authority.issue(&server_leaf()), &trust).unwrap();
        let client = client(&authority.issue(&client_leaf(serial)), &authority.trust()).unwrap();
        connect(server, client, "coord.example.org").map(|_| ())
    };
    let good_until = 4000;
    assert_eq!(
        connect_with(authority.revocations(7, good_until), 8),
        Ok(())
    );
    assert_eq!(
        connect_with(authority.revocations(7, good_until), 7),
        Err(Refusal::OfTheirs(Reason::Revoked))
    );
    assert_eq!(
        connect_with(authority.revocations(7, 2021), 8),
        Err(Refusal::OfTheirs(Reason::UnknownAuthority))
    );
    let foreign = Authority::new("foreign").revocations(7, good_until);
    assert_eq!(
        connect_with(foreign, 8),
        Err(Refusal::OfTheirs(Reason::UnknownAuthority))
    );
}

#[test]
fn only_tls_1_3_is_spoken_and_the_hybrid_comes_first() {
    let provider = crypto();
    assert!(
        provider
            .cipher_suites
            .iter()
            .all(|suite| suite.tls13().is_some())
    );
    assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn texts_without_what_is_needed_are_refused() {
    let authority = Authority::new("ca");
    let key = KeyPair::generate().unwrap().serialize_pem();
    let certificate = authority.pem.as_bytes();
    assert!(matches!(
        Credentials::from_pem(b"", key.as_bytes()),
        Err(TlsError::NoCertificate)
    ));
    assert!(matches!(
        Credentials::from_pem(certificate, b""),
        Err(TlsError::NoKey)
    ));
    assert!(matches!(
        Credentials::from_pem(certificate, certificate),
        Err(TlsError::NoKey)
    ));
    assert!(matches!(
        Trust::from_pem(key.as_bytes()),
        Err(TlsError::NoCertificate)
    ));
    assert!(matches!(
        authority.trust().with_revocations(certificate),
        Err(TlsError::NoRevocationList)
    ));
    let cut = &certificate[..certificate.len() / 2];
    assert!(matches!(Trust::from_pem(cut), Err(TlsError::Pem { .. })));
}

#[test]
fn a_key_that_is_not_the_certificate_s_is_refused() {
    let authority = Authority::new("ca");
    let other = KeyPair::generate().unwrap().serialize_pem();
    let mixed = Credentials::from_pem(authority.pem.as_bytes(), other.as_bytes()).unwrap();
    assert!(matches!(
        server(&mixed, &authority.trust()),
        Err(TlsError::KeyPair { .. })
    ));
    assert!(matches!(
        client(&mixed, &authority.trust()),
        Err(TlsError::KeyPair { .. })
    ));
}

#[test]
fn files_are_read_and_a_useless_one_is_named() {
    let authority = Authority::new("ca");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let key = KeyPair::generate().unwrap();
    let leaf = client_leaf(1).signed_by(&key, &authority.issuer).unwrap();
    files::write_atomic(&path("tls.pem"), leaf.pem().as_bytes()).unwrap();
    files::write_secret(&path("tls.key"), key.serialize_pem().as_bytes()).unwrap();
    files::write_atomic(&path("ca.pem"), authority.pem.as_bytes()).unwrap();
    files::write_atomic(&path("ca.crl"), authority.revocations(7, 4000).as_bytes()).unwrap();

    let credentials = Credentials::load(&path("tls.pem"), &path("tls.key")).unwrap();
    assert_eq!(credentials.leaf(), leaf.der());
    assert_eq!(credentials.chain().len(), 1);
    let trust = Trust::load(&path("ca.pem"), &[path("ca.crl")]).unwrap();
    client(&credentials, &trust).unwrap();

    let error = Trust::load(&path("tls.key"), &[])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("tls.key") && error.contains("CERTIFICATE"),
        "{error}"
    );
    let exposed = Credentials::load(&path("tls.pem"), &path("tls.pem"))
        .err()
        .unwrap();
    assert!(
        matches!(exposed, TlsError::File(FileError::Exposed { .. })),
        "{exposed}"
    );
}

#[test]
fn a_fingerprint_is_the_sha_256_of_the_certificate() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Fingerprint::of(b"").to_string(), empty);
}
