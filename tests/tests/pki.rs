//! From nothing to an authenticated connection: an authority is made, a site asks, the authority issues, both ends
//! shake hands in memory.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, NamedGroup, ServerConfig, ServerConnection};
use veilsum_common::ids::SiteName;
use veilsum_common::time::Span;
use veilsum_coordinator::ca::{self, Authority};
use veilsum_daemon::binding::{self, BindingError, MESSAGE_BYTES};
use veilsum_daemon::identity::{Federation, IdentityError, PeerIdentity, Role};
use veilsum_daemon::refusal::{Reason, Refusal};
use veilsum_daemon::tls::{self, Credentials, Trust};
use veilsum_daemon::{clock, files};
use veilsum_participant::enrol;

/// An authority in its directory, and beside it a directory for each member.
struct Federated {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Federated {
    fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority =
            Authority::init(&dir.path().join("ca"), "example.org", name, clock::now()).unwrap();
        Self { dir, authority }
    }

    /// What `veilsum participant csr` and `veilsum ca issue` do, one after the other.
    fn enrol(&self, name: &str, role: Role) -> Member {
        let dir = self.dir.path().join(name);
        let name: SiteName = name.parse().unwrap();
        let csr = enrol::request(&dir, &name).unwrap();
        let hosts = match role {
            Role::Coordinator => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            Role::Participant | Role::Operator | Role::Auditor => vec![],
        };
        let week = Span::from_secs(7 * 24 * 60 * 60);
        let issued = self
            .authority
            .issue(csr.as_str(), role, &hosts, week, clock::now())
            .unwrap();
        files::write_atomic(&dir.join("tls.pem"), issued.pem.as_bytes()).unwrap();
        Member { dir }
    }

    fn trust(&self) -> Trust {
        Trust::load(&self.dir.path().join("ca").join(ca::CERTIFICATE_FILE), &[]).unwrap()
    }

    fn server(&self) -> Arc<ServerConfig> {
        tls::server(
            &self.enrol("main", Role::Coordinator).credentials(),
            &self.trust(),
        )
        .unwrap()
    }

    fn client(&self, member: &Member) -> Arc<ClientConfig> {
        tls::client(&member.credentials(), &self.trust()).unwrap()
    }

    fn federation(&self) -> &Federation {
        self.authority.federation()
    }
}

struct Member {
    dir: PathBuf,
}

impl Member {
    fn credentials(&self) -> Credentials {
        Credentials::load(&self.dir.join("tls.pem"), &enrol::key_path(&self.dir)).unwrap()
    }
}

fn connect(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> Result<ServerConnection, Refusal> {
    let mut server = ServerConnection::new(server).unwrap();
    let mut client = ClientConnection::new(client, "127.0.0.1".try_into().unwrap()).unwrap();
    let judge = |error: rustls::Error| Refusal::find(&error).expect("a refusal of a certificate");
    while client.wants_write() || server.wants_write() {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let mut unread = to_server.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets().map_err(judge)?;
        }
        let mut to_client = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut to_client).unwrap();
        }
        let mut unread = to_client.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets().map_err(judge)?;
        }
    }
    Ok(server)
}

fn peer_of(
    connection: &ServerConnection,
    federation: &Federation,
) -> Result<PeerIdentity, IdentityError> {
    PeerIdentity::from_leaf(&connection.peer_certificates().unwrap()[0], federation)
}

#[test]
fn who_enrols_is_known_to_the_coordinator_by_role_and_name() {
    let study = Federated::new("study");
    let server = study.server();
    for (name, role) in [
        ("hospital-a", Role::Participant),
        ("eve", Role::Operator),
        ("bob", Role::Auditor),
    ] {
        let connection = connect(server.clone(), study.client(&study.enrol(name, role))).unwrap();
        let peer = peer_of(&connection, study.federation()).unwrap();
        assert_eq!((peer.role, peer.name.as_str()), (role, name));
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, NamedGroup::X25519MLKEM768);
    }
}

#[test]
fn a_site_of_another_authority_is_refused_even_under_the_same_names() {
    let (study, other) = (Federated::new("study"), Federated::new("study"));
    let stranger = other.enrol("hospital-a", Role::Participant);
    let refusal = connect(study.server(), study.client(&stranger))
        .err()
        .unwrap();
    assert_eq!(refusal, Refusal::OfTheirs(Reason::UnknownAuthority));
}

#[test]
fn a_coordinator_cannot_pose_as_a_site_nor_a_site_as_the_coordinator() {
    let study = Federated::new("study");
    let coordinator = study.enrol("second", Role::Coordinator);
    let refusal = connect(study.server(), study.client(&coordinator))
        .err()
        .unwrap();
    assert_eq!(refusal, Refusal::OfTheirs(Reason::WrongUse));

    let site = study.enrol("hospital-a", Role::Participant);
    let impostor = tls::server(&site.credentials(), &study.trust()).unwrap();
    let refusal = connect(impostor, study.client(&site)).err().unwrap();
    assert!(
        matches!(
            refusal,
            Refusal::OfTheirs(Reason::WrongHost | Reason::WrongUse)
        ),
        "{refusal}"
    );
}

#[test]
fn t47_an_identity_binding_counts_for_the_site_whose_key_signed_it_and_for_no_other() {
    let study = Federated::new("study");
    let (a, b) = (
        study.enrol("hospital-a", Role::Participant),
        study.enrol("hospital-b", Role::Participant),
    );
    let message = [1; MESSAGE_BYTES];
    let key = files::read_secret(&enrol::key_path(&a.dir)).unwrap();
    let (scheme, signature) = binding::sign(&key, &message).unwrap();
    binding::verify(a.credentials().leaf(), scheme, &signature, &message).unwrap();
    let stolen = binding::verify(b.credentials().leaf(), scheme, &signature, &message);
    assert_eq!(stolen, Err(BindingError::WrongSignature));
}

/// A binding comes with the certificate that it was made with. A site that could have it checked under that one would be another.
#[test]
fn t47_without_checking_it_under_the_callers_own_certificate_another_sites_binding_counts() {
    let study = Federated::new("study");
    let (a, b) = (
        study.enrol("hospital-a", Role::Participant),
        study.enrol("hospital-b", Role::Participant),
    );
    let connection = connect(study.server(), study.client(&b)).unwrap();
    let caller = &connection.peer_certificates().unwrap()[0];
    let message = [1; MESSAGE_BYTES];
    let key = files::read_secret(&enrol::key_path(&a.dir)).unwrap();
    let (scheme, signature) = binding::sign(&key, &message).unwrap();
    let came_along = a.credentials();
    binding::verify(came_along.leaf(), scheme, &signature, &message).unwrap();
    let checked = binding::verify(caller, scheme, &signature, &message);
    assert_eq!(checked, Err(BindingError::WrongSignature));
    let caller = peer_of(&connection, study.federation()).unwrap();
    let claimed = PeerIdentity::from_leaf(came_along.leaf(), study.federation()).unwrap();
    assert_ne!(caller.name, claimed.name);
}

#[test]
fn both_ends_take_their_federation_from_their_own_certificates() {
    let study = Federated::new("study");
    let site = study.enrol("hospital-a", Role::Participant);
    assert_eq!(
        &Federation::of_leaf(site.credentials().leaf()).unwrap(),
        study.federation()
    );
    let reopened = Authority::open(&study.dir.path().join(Path::new("ca"))).unwrap();
    assert_eq!(reopened.fingerprint(), study.authority.fingerprint());
}
