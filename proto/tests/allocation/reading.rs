//! Every message as the side that receives it reads it: decoded, and converted to what it means.

use prost::Message as _;
use veilsum_common::run::RunSpec;
use veilsum_proto::convert::round::{Finished, decline, neighbourhood};
use veilsum_proto::convert::{ConvertError, OverRoster as _, Signed, fault, notice, required, run};
use veilsum_proto::pb;
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Commit, Neighbourhood, Receipt, RosterConfirmation, ShareItem,
    SurvivorItem, UploadHeader, UploadTrailer,
};
use veilsum_secagg::{Certificate, Digest};

use crate::samples::ROSTER;

/// The generated types by name, and what is done with them after decoding; nothing where nothing is said.
macro_rules! messages {
    ($($name:ident $(=> $read:expr)?,)*) => {
        /// The messages that can be read.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Decodes `bytes` as the message of this name and reads what it means; whether it means anything.
        pub fn read(name: &str, bytes: &[u8]) -> bool {
            match name {
                $(stringify!($name) => match pb::$name::decode(bytes) {
                    Ok(_message) => true $(&& then(_message, $read))?,
                    Err(_) => false,
                },)*
                _ => panic!("{name} is in the .proto files and not in this list"),
            }
        }
    };
}

/// Whether a message can be read; tells the compiler what a closure takes.
fn then<M, T, E>(message: M, read: impl FnOnce(M) -> Result<T, E>) -> bool {
    read(message).is_ok()
}

/// A list of one: what is known of a message whose reading needs the whole stream.
fn alone(item: pb::NeighbourItem) -> Result<Neighbourhood, ConvertError> {
    neighbourhood([item])
}

messages! {
    // what a site asks
    PollRequest => |asked| notice::position(&asked.cursor),
    FetchRunRequest,
    JoinEpochRequest => |asked| required("advertisement", asked.advertisement).and_then(Advertisement::try_from),
    GetRosterRequest,
    ConfirmRosterRequest => |asked| required("confirmation", asked.confirmation).and_then(RosterConfirmation::try_from),
    FetchModelRequest,
    CommitRoundRequest => |asked| required("commit", asked.commit).and_then(Commit::try_from),
    GetNeighbourKeysRequest,
    SubmitMaskedRequest,
    GetSharesRequest,
    GetCommitRecordRequest,
    GetSurvivorsRequest,
    AttestSurvivorsRequest => |asked| required("attestation", asked.attestation).and_then(|part| part.over(ROSTER)),
    AttestAbortRequest => |asked| required("attestation", asked.attestation).and_then(AbortAttestation::try_from),
    UnmaskRequest => |asked| required("list", asked.list).and_then(|part| part.over(ROSTER)),
    DeclineRequest => |asked| decline(asked.reason),
    // what it is told
    PollResponse => |told| {
        let read = |one| notice::received(one, ROSTER);
        told.notices.into_iter().map(read).collect::<Result<Vec<_>, _>>()
    },
    FetchRunResponse => |told| RunSpec::from_bytes(&told.run_spec),
    JoinEpochResponse,
    GetRosterResponse => |told| required("entry", told.entry).and_then(<(u32, Advertisement)>::try_from),
    ConfirmRosterResponse,
    FetchModelResponse,
    CommitRoundResponse,
    GetNeighbourKeysResponse => |told| required("item", told.item).and_then(alone),
    SubmitMaskedResponse => |told| required("answer", told.answer).and_then(|answer| match answer {
        pb::submit_masked_response::Answer::Receipt(receipt) => Signed::<Receipt>::try_from(receipt).map(drop),
        pb::submit_masked_response::Answer::Status(_) | pb::submit_masked_response::Answer::Kept(_) => Ok(()),
    }),
    GetSharesResponse => |told| required("item", told.item).and_then(ShareItem::try_from),
    GetCommitRecordResponse => |told| required("commit", told.commit).and_then(Commit::try_from),
    GetSurvivorsResponse => |told| required("item", told.item).and_then(SurvivorItem::try_from),
    AttestSurvivorsResponse,
    AttestAbortResponse,
    UnmaskResponse,
    DeclineResponse,
    // what an operator asks
    CreateRunRequest,
    GetRunRequest,
    ListRunsRequest,
    WaitRunRequest,
    CancelRunRequest => |asked| run::request_id(&asked.request_id),
    ResumeRunRequest => |asked| run::request_id(&asked.request_id),
    ListModelsRequest,
    FetchModelVersionRequest,
    // what it is told
    CreateRunResponse,
    GetRunResponse,
    ListRunsResponse,
    WaitRunResponse,
    CancelRunResponse,
    ResumeRunResponse,
    ListModelsResponse,
    FetchModelVersionResponse,
    // what these are made of
    Reason,
    BlobChunk,
    MerklePath,
    IndexedSig,
    Binding,
    Advertisement => Advertisement::try_from,
    RosterEntry => <(u32, Advertisement)>::try_from,
    RosterConfirmation => RosterConfirmation::try_from,
    Announcement => |part| part.over(ROSTER),
    RoundCommit => Commit::try_from,
    CohortReady => |part| part.over(ROSTER),
    NeighbourKey,
    NeighbourItem => alone,
    UploadHeader => |part| UploadHeader::try_from(&part),
    UploadPiece,
    UploadTrailer => UploadTrailer::try_from,
    UploadStatus,
    PartKept,
    UploadReceipt => Signed::<Receipt>::try_from,
    ShareItem => ShareItem::try_from,
    SurvivorProposal => |part| part.over(ROSTER),
    SurvivorItem => SurvivorItem::try_from,
    Attestation => |part| part.over(ROSTER),
    SurvivorCert => Certificate::try_from,
    UnmaskList => |part| part.over(ROSTER),
    AbortAttestation => AbortAttestation::try_from,
    AbortCert => Certificate::try_from,
    Notice => |part| notice::received(part, ROSTER),
    RunOffered,
    EpochOpen,
    RosterReady,
    RosterCert => Certificate::try_from,
    RoundOpen,
    AbortProposal,
    RoundResult => Finished::try_from,
    RunEnded,
    CreateRunHeader => |part| run::request_id(&part.request_id),
    ModelVersion,
    Run,
    LostAttempt,
    RoundParticipant,
    RoundSummary,
    // what a stranger may hand to `veilsum verify-fault`
    FaultFile,
    FaultEvidence => |part| fault::evidence(&as_file(&part)),
}

/// A fault file around evidence, undamaged.
fn as_file(evidence: &pb::FaultEvidence) -> Vec<u8> {
    let evidence = evidence.encode_to_vec();
    let blake3 = Digest::of_bulk(&evidence).0.to_vec();
    let file = pb::FaultFile {
        version: 1,
        evidence,
        blake3,
    };
    file.encode_to_vec()
}
