//! Messages that are what they must be, so that reading goes on to their last field.

use prost::Message as _;
use veilsum_proto::pb;
use veilsum_proto::pb::notice::Notice as Told;

use super::samples;

/// Each by its name; the notices once for each kind that holds more than numbers.
pub fn whole() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    macro_rules! samples {
        ($($message:ident => $value:expr,)*) => {
            $(all.push((stringify!($message), pb::$message::from($value).encode_to_vec()));)*
        };
    }
    samples! {
        Advertisement => samples::advertisement(),
        RosterEntry => (0, samples::advertisement()),
        RosterConfirmation => samples::confirmation(),
        RosterCert => samples::certificate(),
        Announcement => samples::announcement(),
        RoundCommit => samples::commit(),
        CohortReady => samples::cohort(),
        ShareItem => samples::share_item(),
        UploadTrailer => samples::upload_trailer(),
        UploadReceipt => samples::receipt(),
        SurvivorProposal => samples::proposal(),
        SurvivorItem => samples::survivor_item(),
        Attestation => samples::attestation(),
        SurvivorCert => samples::certificate(),
        UnmaskList => samples::unmask_list(),
        AbortAttestation => samples::abort_attestation(),
        AbortCert => samples::certificate(),
        RoundResult => samples::finished(),
    }
    all.extend(notices().map(|told| {
        let notice = pb::Notice {
            run_id: vec![7; 16],
            notice: Some(told),
        };
        ("Notice", notice.encode_to_vec())
    }));
    all
}

fn notices() -> impl Iterator<Item = Told> {
    let reason = pb::Reason {
        code: "ROUND_QUORUM_LOST".to_owned(),
        text: "3 uploads arrived in time, 4 are needed".to_owned(),
    };
    let announcement = || Some(samples::announcement().into());
    let kinds = [
        Told::RosterCert(samples::certificate().into()),
        Told::RoundOpen(Box::new(pb::RoundOpen {
            announcement: announcement(),
            round_config: b"{}".to_vec(),
            abort_certs: vec![samples::certificate().into()],
        })),
        Told::CohortReady(samples::cohort().into()),
        Told::SurvivorProposal(samples::proposal().into()),
        Told::SurvivorCert(samples::certificate().into()),
        Told::AbortProposal(Box::new(pb::AbortProposal {
            announcement: announcement(),
            reason: Some(reason.clone()),
        })),
        Told::RoundResult(Box::new(samples::finished().into())),
        Told::RunEnded(pb::RunEnded {
            state: pb::RunState::Failed.into(),
            reason: Some(reason),
        }),
    ];
    kinds.into_iter()
}
