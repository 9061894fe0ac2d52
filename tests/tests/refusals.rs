//! Who is refused, by whom, and in which words: certificates at both ends, roles, names, and every rule of a site's policy.

#![expect(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

use std::fs;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use veilsum_common::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_coordinator::ca::Authority;
use veilsum_daemon::identity::Role;
use veilsum_daemon::{binding, clock, files as disk};
use veilsum_participant::{enrol, keystore, link};
use veilsum_proto::pb;
use veilsum_proto::pb::round_service_client::RoundServiceClient;
use veilsum_proto::pb::run_service_client::RunServiceClient;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::{BindingClaim, Identity, MemberId, Seed, binding_message};
use veilsum_secagg::participant::{AwaitingRoster, Binding};
use veilsum_tests::{Federation, Proxy, Study, files, over, run_to_end};

fn federation(sites: usize) -> Federation {
    Federation::new(sites, 3, |site, dir| files::trainer(site, dir, ""))
}

fn model() -> Vec<u8> {
    files::model(&[0.0; files::ELEMENTS])
}

/// The stable reason that travels with a status.
fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_whose_certificate_the_coordinator_refuses_says_why_in_its_log() {
    let mut federation = federation(3);
    let another = |dir: &str, name: &str| {
        let dir = federation.dir(dir);
        Authority::init(&dir, "example.org", name, clock::now()).unwrap()
    };
    let (now, last_week) = (clock::now(), Timestamp(clock::now().0 - 7 * 86_400_000));
    let (namesake, stranger) = (another("namesake", "test"), another("stranger", "other"));
    federation.reissue(&namesake, "site-0", Role::Participant, now);
    federation.reissue(
        &federation.authority,
        "site-1",
        Role::Participant,
        last_week,
    );
    federation.reissue(&stranger, "site-2", Role::Participant, now);
    federation.start_all();
    let unknown =
        "the peer refused our certificate: it was not issued by an authority that is trusted there";
    federation.logged("site-0", &[unknown]).await;
    federation
        .logged(
            "site-1",
            &["it has expired or is not valid yet; issue a new one"],
        )
        .await;
    federation.logged("site-2", &[unknown]).await;
    federation
        .logged("main", &["handshake refused", "it has expired"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_no_certificate_is_told_that_one_is_needed() {
    let federation = federation(0);
    federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await; // it listens now
    let mut roots = RootCertStore::empty();
    let pem = fs::read(federation.ca()).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let channel = link::connect(&federation.url(), Arc::new(config)).unwrap();
    let refused = RoundServiceClient::new(channel)
        .poll(pb::PollRequest::default())
        .await;
    let said = link::explain(&refused.unwrap_err());
    assert!(
        said.contains("none was shown, and one is required"),
        "{said}"
    );
}

#[test]
fn a_site_does_not_start_with_a_certificate_that_is_not_its_own() {
    let federation = federation(3);
    let dir = |site: usize| federation.members[site].dir.clone();
    let starts = |site: usize| {
        let ended = run_to_end("veilsum-participant", &dir(site), "site.toml");
        assert_eq!(ended.status.code(), Some(1));
        String::from_utf8(ended.stderr).unwrap()
    };
    // another site's certificate and key
    for file in ["tls.pem", "tls.key"] {
        fs::copy(dir(1).join(file), dir(0).join(file)).unwrap();
    }
    let said = starts(0);
    assert!(
        said.contains("is the certificate of site-1, this site is site-0 (name in site.toml)"),
        "{said}"
    );
    // an operator's
    federation.reissue(
        &federation.authority,
        "site-1",
        Role::Operator,
        clock::now(),
    );
    let said = starts(1);
    assert!(
        said.contains("is the certificate of site-1 as operator, a site needs a participant's"),
        "{said}"
    );
    // none at all
    fs::remove_file(dir(2).join("tls.pem")).unwrap();
    let said = starts(2);
    assert!(
        said.contains("tls.pem") && said.contains("No such file"),
        "{said}"
    );
}

/// What site 0 would advertise to a run: the name it claims, whose key signed for it, and whose certificate stands beside it.
fn advertisement(
    federation: &Federation,
    spec: &RunSpec,
    claimed: &str,
    signer: &str,
    shown: &str,
) -> pb::Advertisement {
    let seed = keystore::load_identity(&federation.members[0].dir.join("identity.key")).unwrap();
    let identity = Identity::from_seed(&Seed::new(*seed));
    let claim = BindingClaim {
        organisation: "Test".to_owned(),
        site: claimed.to_owned(),
        not_before: 0,
        not_after: 1 << 40,
    };
    let message = binding_message(&claim.hash(&identity.public()));
    let key = disk::read_secret(&enrol::key_path(&federation.dir(signer))).unwrap();
    let (scheme, signature) = binding::sign(&key, message.as_slice().try_into().unwrap()).unwrap();
    let binding = Binding {
        claim,
        scheme,
        signature,
        chain: vec![
            CertificateDer::from_pem_file(federation.dir(shown).join("tls.pem"))
                .unwrap()
                .to_vec(),
        ],
    };
    let params = Arc::new(spec.params().clone());
    AwaitingRoster::new(&params, 1, &identity, &binding, &Seed::new([7; 32]))
        .1
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_joins_as_another_site_nor_with_a_binding_that_another_site_signed() {
    let federation = federation(3);
    let run = federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await;
    federation.wait(&run.run_id, |run| run.version > 1).await; // its epoch is open
    let mut site = RoundServiceClient::new(federation.channel("site-0"));
    let offers = site
        .poll(pb::PollRequest::default())
        .await
        .unwrap()
        .into_inner();
    let run_id = offers.notices[0].run_id.clone();
    let fetched = site
        .fetch_run(pb::FetchRunRequest {
            run_id: run_id.clone(),
        })
        .await;
    let spec = RunSpec::from_bytes(&fetched.unwrap().into_inner().run_spec).unwrap();
    let mine = "its certificate is not the one of this connection";
    let as_site_1 = "it names the site site-1, the certificate is site-0's";
    for (claimed, signer, shown, words) in [
        ("site-1", "site-0", "site-0", as_site_1),
        ("site-1", "site-1", "site-1", as_site_1),
        ("site-0", "site-1", "site-1", mine),
        (
            "site-0",
            "site-1",
            "site-0",
            "is not by the certificate's key",
        ),
    ] {
        let request = pb::JoinEpochRequest {
            run_id: run_id.clone(),
            advertisement: Some(advertisement(&federation, &spec, claimed, signer, shown)),
        };
        let refused = site.join_epoch(request).await.unwrap_err();
        let found = (refused.code(), reason(&refused));
        assert_eq!(
            found,
            (Code::PermissionDenied, "BINDING_REFUSED".to_owned())
        );
        assert!(refused.message().contains(words), "{}", refused.message());
    }
    let own = advertisement(&federation, &spec, "site-0", "site-0", "site-0");
    let request = pb::JoinEpochRequest {
        run_id,
        advertisement: Some(own),
    };
    site.join_epoch(request).await.unwrap(); // and as itself it may
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_for_one_role_and_says_which() {
    let federation = federation(1);
    let run = federation
        .submit(&Study::of(3, 1).to_toml(), &model())
        .await;
    let id = || run.run_id.clone();
    let mut site = RunServiceClient::new(federation.channel("site-0"));
    let header = pb::create_run_request::Part::Header(pb::CreateRunHeader::default());
    let messages = [pb::CreateRunRequest { part: Some(header) }];
    let request_id = "00000000-0000-4000-8000-000000000009".to_owned();
    let fetch = pb::FetchModelVersionRequest {
        run_id: id(),
        round: None,
        offset: 0,
    };
    let list = pb::ListModelsRequest {
        run_id: id(),
        ..Default::default()
    };
    let wait = pb::WaitRunRequest {
        run_id: id(),
        ..Default::default()
    };
    let refusals = [
        site.create_run(tokio_stream::iter(messages)).await.err(),
        site.get_run(pb::GetRunRequest {
            run_id: id(),
            history_from: 0,
        })
        .await
        .err(),
        site.list_runs(pb::ListRunsRequest::default()).await.err(),
        site.wait_run(wait).await.err(),
        site.cancel_run(pb::CancelRunRequest {
            run_id: id(),
            request_id,
        })
        .await
        .err(),
        site.list_models(list).await.err(),
        site.fetch_model_version(fetch).await.err(),
    ];
    for refused in refusals {
        let refused = refused.expect("only operators control runs");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::PermissionDenied, "NOT_PERMITTED")
        );
        let words = "the certificate of site-0 has the role participant, this call needs operator";
        assert!(refused.message().contains(words), "{}", refused.message());
    }
    let mut boss = RoundServiceClient::new(federation.channel("boss"));
    let refused = boss.poll(pb::PollRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::PermissionDenied, "NOT_PERMITTED")
    );
    let words = "the certificate of boss has the role operator, this call needs participant";
    assert!(refused.message().contains(words), "{}", refused.message());
    let still = federation.wait(&run.run_id, |_| true).await;
    assert!(!over(&still), "a site cannot cancel a run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_id_is_one_run_and_never_another_one() {
    let federation = federation(0);
    let study = Study::of(3, 1).to_toml();
    let first = federation.try_submit(&study, &model(), 7).await.unwrap();
    let again = federation.try_submit(&study, &model(), 7).await.unwrap();
    assert_eq!(first.run_id, again.run_id);
    let other_study = Study::of(3, 2).to_toml();
    let other_model = files::model(&[1.0; files::ELEMENTS]);
    for (study, model) in [(&other_study, model()), (&study, other_model)] {
        let refused = federation.try_submit(study, &model, 7).await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::AlreadyExists, "REQUEST_ID_CONFLICT")
        );
    }
    let other = federation.try_submit(&study, &model(), 8).await.unwrap();
    assert_ne!(first.run_id, other.run_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_of_a_sites_policy_keeps_it_out_of_the_run_by_name_and_the_others_go_on() {
    let rules = [
        (
            "min_cohort = 3",
            "min_cohort = 5",
            "SITE_POLICY_MIN_COHORT",
            "the run allows a cohort of 3, this site's policy.min_cohort is 5",
        ),
        (
            "\nids = ",
            "\n# ids = ",
            "SITE_POLICY_NO_PEERS",
            "no peers are pinned: name their ids under peers.ids",
        ),
        (
            "mode = \"all\"",
            "mode = \"digest\", studies = []",
            "SITE_POLICY_STUDY",
            "is not in approve.studies of site.toml",
        ),
        (
            "[policy]",
            "[policy]\nbits_min = 20",
            "SITE_POLICY_BITS_MIN",
            "the run quantises to 16 bits, this site's policy.bits_min is 20",
        ),
        (
            "[policy]",
            "[policy]\nmax_update = \"31 B\"",
            "SITE_POLICY_MAX_UPDATE",
            "takes 32 bytes, this site's policy.max_update allows 31",
        ),
        (
            "[policy]",
            "[policy]\nmetrics = []",
            "SITE_POLICY_METRICS",
            "the run asks for the metric \\\"loss\\\", which policy.metrics",
        ),
    ];
    let mut federation = federation(rules.len() + 3);
    let mut proxies = Vec::new();
    for (site, (from, to, ..)) in rules.iter().enumerate() {
        federation.edit(site, from, to);
        proxies.push(Proxy::before(&federation, site).await);
    }
    let others = &federation.ids()[rules.len()..];
    (rules.len()..federation.members.len()).for_each(|site| federation.pin(site, others));
    federation.start_all();
    let run = federation
        .submit(&Study::of(3, 2).to_toml(), &model())
        .await;
    for (site, (.., code, words)) in rules.iter().enumerate() {
        federation
            .logged(
                &format!("site-{site}"),
                &["taking no part in the run", code, words],
            )
            .await;
    }
    let run = federation.completed(&run.run_id).await;
    assert!(
        run.history
            .iter()
            .all(|round| (round.cohort, round.survivors) == (3, 3))
    );
    for proxy in &proxies {
        assert_eq!(proxy.count("FetchRun"), 1);
        assert_eq!(
            proxy.count("JoinEpoch") + proxy.count("CommitRound") + proxy.count("SubmitMasked"),
            0
        );
    }
    let warned = federation.log("site-1");
    assert!(
        warned.contains("WARN"),
        "a site without pins is warned when it starts: {warned}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_that_is_not_the_pinned_one_is_refused_and_nothing_is_signed() {
    let mut federation = federation(5);
    let ids = federation.ids();
    let (stranger, nobody) = (ids[4], MemberId(Digest([0; 32])));
    federation.pin(0, &[&ids[..4], &[nobody]].concat());
    federation.pin(1, &[&ids[..], &[nobody]].concat());
    federation.pin(2, &[]);
    federation.edit(2, "ids = []", &format!("roster = \"{nobody}\""));
    let mut proxies = Vec::new();
    for site in 0..3 {
        proxies.push(Proxy::before(&federation, site).await);
    }
    federation.start_all();
    let study = Study {
        report: "2s",
        ..Study::of(5, 1)
    };
    let run = federation.submit(&study.to_toml(), &model()).await;
    let unpinned = format!("member {stranger} of the roster is not in peers.ids of site.toml");
    let missing = format!("member {nobody} of peers.ids in site.toml is not in the roster");
    for (site, code, words) in [
        ("site-0", "SITE_POLICY_PEERS", unpinned.as_str()),
        ("site-1", "SITE_POLICY_PEERS", &missing),
        (
            "site-2",
            "SITE_POLICY_ROSTER",
            "peers.roster of site.toml approves 0000",
        ),
    ] {
        federation
            .logged(site, &[code, words, "othing was signed"])
            .await;
    }
    let run = federation.wait(&run.run_id, over).await;
    let reason = run.reason.unwrap();
    assert_eq!(reason.code, "EPOCH_ROSTER_UNCONFIRMED");
    assert!(
        reason.text.contains("2 sites confirmed the roster, 4 must"),
        "{}",
        reason.text
    );
    for site in 0..5 {
        federation
            .logged(
                &format!("site-{site}"),
                &["run ended", &reason.code, &reason.text],
            )
            .await;
    }
    for proxy in proxies {
        assert_eq!(proxy.count("ConfirmRoster") + proxy.count("CommitRound"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_for_two_sites_is_refused_with_the_limit_and_the_remedy() {
    let federation = federation(0);
    let refused = federation
        .try_submit(&Study::of(2, 1).to_toml(), &model(), 1)
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "STUDY_INVALID")
    );
    for words in [
        "rounds.cohort.min is 2, at least 3 sites are needed",
        "set it to 5 or more",
    ] {
        assert!(refused.message().contains(words), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_the_same_data_does_not_start() {
    let mut federation = federation(1);
    federation.start_site(0);
    federation.logged("site-0", &["participant ready"]).await;
    federation.logged("main", &["coordinator ready"]).await;
    let main = federation.dir("main");
    let text = fs::read_to_string(main.join("coordinator.toml")).unwrap();
    let elsewhere = text.replace(&federation.port.to_string(), "0");
    fs::write(main.join("second.toml"), elsewhere).unwrap();
    for (daemon, dir, config) in [
        (
            "veilsum-participant",
            &federation.members[0].dir,
            "site.toml",
        ),
        ("veilsum-coordinator", &main, "second.toml"),
    ] {
        let ended = run_to_end(daemon, dir, config);
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(
            said.contains("in use") || said.contains("another"),
            "{said}"
        );
    }
}
