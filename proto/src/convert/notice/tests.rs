use proptest::prelude::*;
use prost::Message as _;
use veilsum_common::limits::{
    MAX_CURSOR_BYTES, MAX_METRICS, MAX_NEWS_BYTES, MAX_NOTICES, MAX_PROOFS, MAX_ROUND_CONFIG_BYTES,
};
use veilsum_engine::run::State;
use veilsum_secagg::keys::Seed;

use super::*;
use crate::convert::samples::{self, ROSTER};

const PLACE: Position = Position {
    epoch: 3,
    seq: 4,
    rank: 5,
};
const REASON: Abort = Abort::CohortTooSmall { have: 2, need: 5 };

fn coordinator() -> Identity {
    Identity::from_seed(&Seed::new([1; 32]))
}

fn voice(identity: &Identity) -> Voice<'_> {
    Voice {
        run_id: RunId::from_bytes([7; 16]),
        run_hash: Digest([8; 32]),
        identity,
        aborting: Some(&REASON),
    }
}

/// Over the wire, to a site whose roster has `roster_size` members.
fn heard(notice: &pb::Notice, roster_size: u32) -> Result<Received, ConvertError> {
    let bytes = notice.encode_to_vec();
    received(pb::Notice::decode(bytes.as_slice()).unwrap(), roster_size)
}

fn said(notice: Notice) -> Received {
    heard(&voice(&coordinator()).say(PLACE, notice), ROSTER).unwrap()
}

fn open() -> Notice {
    Notice::RoundOpen {
        announcement: Box::new(samples::announcement().value),
        round_config: b"{}".to_vec(),
        proofs: vec![samples::certificate()],
    }
}

/// A site reads no longer answer, so an honest coordinator must never have to give one.
#[test]
fn the_largest_answer_to_a_poll_fits_its_limit() {
    let signed = || Certificate {
        signatures: (0..128).map(|index| (index, Signature([7; 64]))).collect(),
        ..samples::certificate()
    };
    let largest = |notice| voice(&coordinator()).say(PLACE, notice);
    let result = largest(Notice::Result {
        round: u64::MAX,
        result: Box::new(veilsum_secagg::message::RoundResult {
            metadata: vec![0xff; (MAX_METRICS + 2) * 8],
            ..samples::finished().result.value
        }),
        certificate: signed(),
    });
    let open = largest(Notice::RoundOpen {
        announcement: Box::new(samples::announcement().value),
        round_config: vec![0; MAX_ROUND_CONFIG_BYTES],
        proofs: vec![signed(); MAX_PROOFS],
    });
    let roster = largest(Notice::RosterCertified(signed()));
    let survivors = largest(Notice::SurvivorsCertified(signed()));
    let mut notices = vec![result; MAX_NOTICES - 3];
    notices.extend([open, roster, survivors]);
    let cursor = vec![0; MAX_CURSOR_BYTES];
    let bytes = pb::PollResponse { notices, cursor }.encoded_len();
    assert!(
        (MAX_NEWS_BYTES / 2..MAX_NEWS_BYTES).contains(&bytes),
        "{bytes}"
    );
}

#[test]
fn what_needs_no_signature_arrives_as_it_was() {
    let offer = voice(&coordinator()).offer();
    let (run_id, run_hash) = (RunId::from_bytes([7; 16]), Digest([8; 32]));
    assert_eq!(
        heard(&offer, 0),
        Ok(Received::RunOffered { run_id, run_hash })
    );
    let (epoch, join_by) = (2, Timestamp(9));
    assert_eq!(
        said(Notice::EpochOpen { epoch, join_by }),
        Received::EpochOpen { epoch, join_by }
    );
    let (members, root) = (5, Digest([3; 32]));
    let ready = Notice::RosterReady {
        epoch,
        members,
        root,
    };
    let expected = Received::RosterReady {
        epoch,
        members,
        root,
    };
    assert_eq!(said(ready), expected);
    assert_eq!(
        said(Notice::RosterCertified(samples::certificate())),
        Received::RosterCertified(samples::certificate())
    );
    assert_eq!(
        said(Notice::SurvivorsCertified(samples::certificate())),
        Received::SurvivorsCertified(samples::certificate())
    );
}

#[test]
fn an_attempt_arrives_with_the_coordinators_signature() {
    let Received::RoundOpen {
        announcement,
        signature,
        round_config,
        proofs,
    } = said(open())
    else {
        panic!("another notice");
    };
    assert_eq!(*announcement, samples::announcement().value);
    assert!(announcement.verifies(&coordinator().public(), &signature));
    assert_eq!(round_config, b"{}");
    assert_eq!(proofs, [samples::certificate()]);
}

#[test]
fn cohort_and_survivors_arrive_with_the_coordinators_signature() {
    let key = coordinator().public();
    let Received::CohortReady { cohort, signature } =
        said(Notice::CohortReady(samples::cohort().value))
    else {
        panic!("another notice");
    };
    assert_eq!(cohort, samples::cohort().value);
    assert!(cohort.verifies(&key, &signature));

    let Received::SurvivorProposal {
        proposal,
        signature,
    } = said(Notice::SurvivorProposal(samples::proposal().value))
    else {
        panic!("another notice");
    };
    assert_eq!(proposal, samples::proposal().value);
    assert!(proposal.verifies(&key, &signature));
}

#[test]
fn an_abort_says_why() {
    let announced = samples::announcement().value;
    let Received::AbortProposal {
        announcement,
        signature,
        code,
        text,
    } = said(Notice::AbortProposal(Box::new(announced.clone())))
    else {
        panic!("another notice");
    };
    assert_eq!(*announcement, announced);
    assert!(announcement.verifies(&coordinator().public(), &signature));
    assert_eq!((code, text), (REASON.code().to_owned(), REASON.to_string()));
}

#[test]
fn a_result_arrives_with_its_place_its_certificate_and_the_coordinators_signature() {
    let published = samples::finished().result.value;
    let signature = published.sign(&coordinator());
    let value = published.clone();
    let arrived = Finished {
        round: 6,
        epoch: 3,
        seq: 4,
        result: Signed { value, signature },
        certificate: samples::certificate(),
    };
    assert_eq!(said(result_notice()), Received::Result(Box::new(arrived)));
    assert!(published.verifies(&coordinator().public(), &signature));
}

fn result_notice() -> Notice {
    Notice::Result {
        round: 6,
        result: Box::new(samples::finished().result.value),
        certificate: samples::certificate(),
    }
}

#[test]
fn a_result_without_a_certificate_or_with_a_damaged_one_is_no_result() {
    let refused_with = |change: fn(&mut Option<pb::SurvivorCert>)| {
        let mut notice = voice(&coordinator()).say(PLACE, result_notice());
        let Some(Told::RoundResult(message)) = &mut notice.notice else {
            panic!("another notice");
        };
        change(&mut message.cert);
        heard(&notice, ROSTER).unwrap_err()
    };
    assert_eq!(
        refused_with(|cert| *cert = None),
        Problem::Missing.of("cert")
    );
    let damaged = refused_with(|cert| cert.as_mut().unwrap().digest.truncate(31));
    assert_eq!(damaged, Problem::Length { have: 31, need: 32 }.of("digest"));
}

#[test]
fn the_end_of_a_run_arrives_in_words() {
    let ended = |state, code: &str, text: String| Received::Ended {
        state,
        code: code.to_owned(),
        text,
    };
    assert_eq!(
        said(Notice::Ended(State::Completed)),
        ended(pb::RunState::Completed, "", String::new())
    );
    assert_eq!(
        said(Notice::Ended(State::Failed(Abort::BadSum))),
        ended(
            pb::RunState::Failed,
            "ROUND_BAD_SUM",
            Abort::BadSum.to_string()
        )
    );
    assert_eq!(
        said(Notice::Ended(State::Cancelled)),
        ended(
            pb::RunState::Cancelled,
            "RUN_CANCELLED",
            Abort::Cancelled.to_string()
        )
    );
}

#[test]
fn the_longest_reason_is_still_told() {
    let dealers = (0..128).collect();
    let why = Abort::BadDealing { dealers };
    let expected = why.to_string();
    let Received::Ended { text, .. } = said(Notice::Ended(State::Failed(why))) else {
        panic!("another notice");
    };
    assert_eq!(text, expected);
}

#[test]
fn what_names_members_means_nothing_without_a_roster() {
    let identity = coordinator();
    let notices = [
        (open(), "announcement"),
        (Notice::CohortReady(samples::cohort().value), "cohort_ready"),
        (
            Notice::SurvivorProposal(samples::proposal().value),
            "survivor_proposal",
        ),
        (
            Notice::AbortProposal(Box::new(samples::announcement().value)),
            "announcement",
        ),
    ];
    for (notice, field) in notices {
        let notice = voice(&identity).say(PLACE, notice);
        assert_eq!(heard(&notice, 0), Err(Problem::NoRoster.of(field)));
        assert!(matches!(
            heard(&notice, 33).unwrap_err().problem,
            Problem::Set(_)
        ));
    }
}

fn refused(notice: Told) -> String {
    let run_id = vec![7; 16];
    let notice = Some(notice);
    heard(&pb::Notice { notice, run_id }, ROSTER)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_notice_is_refused_by_the_field_that_is_wrong() {
    let nothing = pb::Notice {
        run_id: vec![7; 16],
        notice: None,
    };
    assert_eq!(heard(&nothing, 0), Err(Problem::Missing.of("notice")));
    let mut offer = voice(&coordinator()).offer();
    offer.run_id.push(0);
    assert_eq!(
        heard(&offer, 0),
        Err(Problem::Length { have: 17, need: 16 }.of("run_id"))
    );
    assert_eq!(
        refused(Told::EpochOpen(pb::EpochOpen::default())),
        "field run_hash has 0 bytes, must have 32"
    );
    assert_eq!(
        refused(Told::AbortCert(pb::AbortCert::default())),
        "field abort_cert must be empty in protocol version 1, has 1 notice"
    );
    let mut open = pb::RoundOpen {
        announcement: Some(samples::announcement().into()),
        round_config: vec![0; 64 * 1024 + 4097],
        abort_certs: Vec::new(),
    };
    assert_eq!(
        refused(Told::RoundOpen(Box::new(open.clone()))),
        "field round_config has 69633 bytes, may have at most 69632"
    );
    open.round_config.clear();
    open.abort_certs = vec![samples::certificate().into(); 4];
    assert_eq!(
        refused(Told::RoundOpen(Box::new(open))),
        "field abort_certs has 4 certificates, may have at most 3"
    );
}

#[test]
fn an_end_that_is_none_and_words_that_cannot_be_shown_are_refused() {
    let ended = |state: i32, code: &str, text: &str| {
        let reason = Some(pb::Reason {
            code: code.to_owned(),
            text: text.to_owned(),
        });
        refused(Told::RunEnded(pb::RunEnded { state, reason }))
    };
    let failed = pb::RunState::Failed.into();
    let running = ended(pb::RunState::Running.into(), "", "");
    assert!(running.starts_with("field state has the value 2, "));
    assert!(ended(77, "", "").starts_with("field state has the value 77, "));
    assert_eq!(
        ended(failed, "A", "\u{1b}[2J"),
        "field reason.text is not plain text"
    );
    assert_eq!(
        ended(failed, &"A".repeat(65), ""),
        "field reason.code has 65 bytes, may have at most 64"
    );
    assert_eq!(
        ended(failed, "A", &"a".repeat(2049)),
        "field reason.text has 2049 bytes, may have at most 2048"
    );
}

#[test]
fn an_empty_cursor_stands_before_everything_and_a_wrong_one_nowhere() {
    assert_eq!(position(&[]), Ok(Position::default()));
    let error = position(&[0; 16]).unwrap_err();
    assert_eq!(error.to_string(), "field cursor has 16 bytes, must have 17");
}

fn any_position() -> impl Strategy<Value = Position> {
    any::<(u64, u64, u8)>().prop_map(|(epoch, seq, rank)| Position { epoch, seq, rank })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_position_comes_back_from_its_cursor(at in any_position()) {
        prop_assert_eq!(position(&cursor(at)), Ok(at));
    }

    #[test]
    fn cursors_stand_in_the_order_of_their_positions(a in any_position(), b in any_position()) {
        prop_assert_eq!(cursor(a).cmp(&cursor(b)), a.cmp(&b));
    }

    #[test]
    fn any_bytes_at_all_are_heard_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        roster_size in 0_u32..200,
    ) {
        if let Ok(notice) = pb::Notice::decode(bytes.as_slice()) {
            let _ = received(notice, roster_size);
        }
        let _ = position(&bytes);
    }
}
