use std::fmt::Debug;

use prost::Message;
use veilsum_secagg::BitmapError;

use veilsum_engine::round::Decline;
use veilsum_secagg::Certificate;
use veilsum_secagg::message::{
    AbortAttestation, Commit, Receipt, ShareItem, SurvivorItem, UploadHeader, UploadTrailer,
};

use super::*;
use crate::convert::samples::{self, ROSTER};

/// Through the bytes of the wire and back.
fn sent<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

/// A value that is read without further knowledge comes back as it was.
fn returns<T, M>(value: &T)
where
    T: Clone + PartialEq + Debug + TryFrom<M, Error = ConvertError>,
    M: Message + Default + From<T>,
{
    assert_eq!(
        T::try_from(sent(M::from(value.clone()))).as_ref(),
        Ok(value)
    );
}

/// A value with sets over the roster comes back as it was.
fn returns_over<T, M>(value: &T)
where
    T: Clone + PartialEq + Debug,
    M: Message + Default + From<T> + OverRoster<Value = T>,
{
    assert_eq!(
        sent(M::from(value.clone())).over(ROSTER).as_ref(),
        Ok(value)
    );
}

fn error<T: Debug>(result: Result<T, ConvertError>) -> (&'static str, Problem) {
    let ConvertError { field, problem } = result.unwrap_err();
    (field, problem)
}

#[test]
fn what_is_written_is_read_back() {
    returns::<_, pb::RoundCommit>(&samples::commit());
    returns::<_, pb::ShareItem>(&samples::share_item());
    returns::<_, pb::ShareItem>(&ShareItem {
        ciphertext: None,
        path: Vec::new(),
        ..samples::share_item()
    });
    returns::<_, pb::UploadTrailer>(&samples::upload_trailer());
    returns::<_, pb::UploadReceipt>(&samples::receipt());
    returns::<_, pb::SurvivorItem>(&samples::survivor_item());
    returns::<_, pb::SurvivorCert>(&samples::certificate());
    returns::<_, pb::AbortAttestation>(&samples::abort_attestation());
    returns::<_, pb::AbortCert>(&samples::certificate());
    returns::<_, pb::RoundResult>(&samples::finished());
    let header = sent(pb::UploadHeader::from(samples::upload_header()));
    assert_eq!(
        UploadHeader::try_from(&header),
        Ok(samples::upload_header())
    );
}

#[test]
fn what_is_written_over_a_roster_is_read_back_over_it() {
    returns_over::<_, pb::Announcement>(&samples::announcement());
    returns_over::<_, pb::CohortReady>(&samples::cohort());
    returns_over::<_, pb::SurvivorProposal>(&samples::proposal());
    returns_over::<_, pb::Attestation>(&samples::attestation());
    returns_over::<_, pb::UnmaskList>(&samples::unmask_list());
}

#[test]
fn a_set_over_another_roster_is_refused() {
    let message = || pb::CohortReady::from(samples::cohort());
    let length = BitmapError::Length {
        size: 17,
        have: 2,
        need: 3,
    };
    assert_eq!(
        error(message().over(17)),
        ("cohort_bitmap", Problem::Set(length))
    );
    let unused = BitmapError::UnusedBits { size: 9 };
    assert_eq!(
        error(message().over(9)),
        ("cohort_bitmap", Problem::Set(unused))
    );
}

#[test]
fn a_commit_is_refused_by_the_field_that_is_wrong() {
    let refused = |change: fn(&mut pb::RoundCommit)| {
        let mut message = pb::RoundCommit::from(samples::commit());
        change(&mut message);
        error(Commit::try_from(message))
    };
    let length = |have, need| Problem::Length { have, need };
    let too_long = |have| Problem::TooLong {
        have,
        limit: 128,
        unit: "entries",
    };
    let cases = [
        (refused(|m| m.ann_hash.clear()), ("ann_hash", length(0, 32))),
        (refused(|m| m.nonce.push(0)), ("nonce", length(33, 32))),
        (refused(|m| m.blob.truncate(47)), ("blob", length(47, 48))),
        (refused(|m| m.ct[0].truncate(79)), ("ct", length(79, 80))),
        (
            refused(|m| m.ct = vec![Vec::new(); 129]),
            ("ct", too_long(129)),
        ),
        (
            refused(|m| m.share_list.push(0)),
            (
                "share_list",
                Problem::Pieces {
                    have: 193,
                    unit: 64,
                },
            ),
        ),
        (
            refused(|m| m.share_list = vec![0; 129 * 64]),
            ("share_list", too_long(129)),
        ),
        (
            refused(|m| m.sig_maskkey.clear()),
            ("sig_maskkey", length(0, 64)),
        ),
        (
            refused(|m| m.sig_commit.push(0)),
            ("sig_commit", length(65, 64)),
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    assert!(matches!(
        refused(|m| m.e_pk = vec![0; 32]),
        ("e_pk", Problem::Key(_))
    ));
}

#[test]
fn an_empty_message_of_any_kind_is_refused() {
    assert!(Commit::try_from(pb::RoundCommit::default()).is_err());
    assert!(ShareItem::try_from(pb::ShareItem::default()).is_err());
    assert!(UploadHeader::try_from(&pb::UploadHeader::default()).is_err());
    assert!(UploadTrailer::try_from(pb::UploadTrailer::default()).is_err());
    assert!(Signed::<Receipt>::try_from(pb::UploadReceipt::default()).is_err());
    assert!(SurvivorItem::try_from(pb::SurvivorItem::default()).is_err());
    assert!(AbortAttestation::try_from(pb::AbortAttestation::default()).is_err());
    assert!(Certificate::try_from(pb::SurvivorCert::default()).is_err());
    assert!(Certificate::try_from(pb::AbortCert::default()).is_err());
    assert!(Finished::try_from(pb::RoundResult::default()).is_err());
    assert!(pb::Announcement::default().over(ROSTER).is_err());
    assert!(pb::CohortReady::default().over(ROSTER).is_err());
    assert!(pb::SurvivorProposal::default().over(ROSTER).is_err());
    assert!(pb::Attestation::default().over(ROSTER).is_err());
    assert!(pb::UnmaskList::default().over(ROSTER).is_err());
}

#[test]
fn a_neighbourhood_is_a_path_and_then_keys() {
    let items = || {
        neighbour_items(samples::neighbourhood())
            .map(sent)
            .collect::<Vec<_>>()
    };
    assert_eq!(neighbourhood(items()), Ok(samples::neighbourhood()));

    let reversed = items().into_iter().rev();
    assert_eq!(error(neighbourhood(reversed)), ("key", Problem::Order));
    let own_twice = [items().swap_remove(0), items().swap_remove(0)];
    assert_eq!(error(neighbourhood(own_twice)), ("own", Problem::Order));
    assert_eq!(error(neighbourhood([])), ("own", Problem::Missing));
    assert_eq!(
        error(neighbourhood([
            items().swap_remove(0),
            pb::NeighbourItem::default()
        ])),
        ("key", Problem::Missing)
    );
    let endless = items()
        .into_iter()
        .take(1)
        .chain(std::iter::repeat_with(|| items().swap_remove(1)));
    let problem = Problem::TooLong {
        have: 129,
        limit: 128,
        unit: "entries",
    };
    assert_eq!(error(neighbourhood(endless)), ("key", problem));
}

#[test]
fn a_path_is_bounded() {
    let mut message = pb::ShareItem::from(samples::share_item());
    message.path = Some(pb::MerklePath {
        hashes: vec![vec![0; 32]; 33],
    });
    let problem = Problem::TooLong {
        have: 33,
        limit: 32,
        unit: "hashes",
    };
    assert_eq!(error(ShareItem::try_from(message)), ("path", problem));
}

#[test]
fn metadata_is_whole_lanes_and_not_too_many() {
    let refused = |bytes: usize| {
        let trailer = pb::UploadTrailer::from(UploadTrailer {
            metadata: vec![0; bytes],
            ..samples::upload_trailer()
        });
        error(UploadTrailer::try_from(trailer))
    };
    assert_eq!(
        refused(12),
        ("meta_lanes", Problem::Pieces { have: 12, unit: 8 })
    );
    let problem = Problem::TooLong {
        have: 1025,
        limit: 1024,
        unit: "lanes",
    };
    assert_eq!(refused(1025 * 8), ("meta_lanes", problem));
}

#[test]
fn no_holder_releases_more_scalars_than_there_are_members() {
    let mut message = pb::UnmaskList::from(samples::unmask_list());
    message.scalars = vec![0; 12 * 32];
    let problem = Problem::TooLong {
        have: 12,
        limit: 11,
        unit: "entries",
    };
    assert_eq!(error(message.over(ROSTER)), ("scalars", problem));
}

#[test]
fn a_declines_class_is_one_of_those_there_are() {
    for decline in [
        Decline::Policy,
        Decline::NotNow,
        Decline::TrainerFailed,
        Decline::UpdateRefused,
        Decline::Spent,
    ] {
        assert_eq!(
            Decline::try_from(pb::DeclineReason::from(decline)),
            Ok(decline)
        );
    }
    assert_eq!(
        error(Decline::try_from(pb::DeclineReason::Unspecified)),
        ("reason", Problem::Missing)
    );
    assert_eq!(error(decline(0)), ("reason", Problem::Missing));
    assert_eq!(
        error(decline(77)),
        ("reason", Problem::Unknown { have: 77 })
    );
    assert_eq!(decline(1), Ok(Decline::Policy));
}
