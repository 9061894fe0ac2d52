//! Every message of the wire: its golden bytes, what is added to it, and what is done to it on the way.
//!
//! The messages are filled from the `.proto` files, each field with a value of its own, so that a number or a type that changes is seen.
//! `VEILSUM_BLESS=1 cargo test -p veilsum-proto every_message` writes `wire.txt` anew.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use veilsum_secagg::Certificate;
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Commit, Receipt, RosterConfirmation, ShareItem, SurvivorItem,
    UploadHeader, UploadTrailer,
};

use crate::convert::round::{Finished, neighbourhood};
use crate::convert::{OverRoster as _, Signed, notice, samples};
use crate::pb;

const GOLDEN: &str = include_str!("wire.txt");
const FILES: [&str; 3] = ["types", "participant", "run"];

/// The generated types by name: bytes in, what they were read as out again.
macro_rules! messages {
    ($($name:ident,)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        fn read_and_written(name: &str, bytes: &[u8]) -> Result<Vec<u8>, prost::DecodeError> {
            match name {
                $(stringify!($name) => Ok(pb::$name::decode(bytes)?.encode_to_vec()),)*
                _ => panic!("{name} is in the .proto files and not in this list"),
            }
        }
    };
}

messages! {
        Reason,
        BlobChunk,
        MerklePath,
        IndexedSig,
        Binding,
        Advertisement,
        RosterEntry,
        RosterConfirmation,
        Announcement,
        RoundCommit,
        CohortReady,
        NeighbourKey,
        NeighbourItem,
        UploadHeader,
        UploadPiece,
        UploadTrailer,
        UploadReceipt,
        UploadStatus,
        PartKept,
        ShareItem,
        SurvivorProposal,
        SurvivorItem,
        Attestation,
        SurvivorCert,
        UnmaskList,
        AbortAttestation,
        AbortCert,
        PollRequest,
        PollResponse,
        Notice,
        RunOffered,
        EpochOpen,
        RosterReady,
        RosterCert,
        RoundOpen,
        AbortProposal,
        RoundResult,
        RunEnded,
        FetchRunRequest,
        FetchRunResponse,
        JoinEpochRequest,
        JoinEpochResponse,
        GetRosterRequest,
        GetRosterResponse,
        ConfirmRosterRequest,
        ConfirmRosterResponse,
        FetchModelRequest,
        FetchModelResponse,
        CommitRoundRequest,
        CommitRoundResponse,
        GetNeighbourKeysRequest,
        GetNeighbourKeysResponse,
        SubmitMaskedRequest,
        SubmitMaskedResponse,
        GetSharesRequest,
        GetSharesResponse,
        GetCommitRecordRequest,
        GetCommitRecordResponse,
        GetSurvivorsRequest,
        GetSurvivorsResponse,
        AttestSurvivorsRequest,
        AttestSurvivorsResponse,
        AttestAbortRequest,
        AttestAbortResponse,
        UnmaskRequest,
        UnmaskResponse,
        DeclineRequest,
        DeclineResponse,
        CreateRunRequest,
        CreateRunHeader,
        CreateRunResponse,
        GetRunRequest,
        GetRunResponse,
        ListRunsRequest,
        ListRunsResponse,
        WaitRunRequest,
        WaitRunResponse,
        CancelRunRequest,
        CancelRunResponse,
        ResumeRunRequest,
        ResumeRunResponse,
        ListModelsRequest,
        ListModelsResponse,
        ModelVersion,
        FetchModelVersionRequest,
        FetchModelVersionResponse,
        Run,
        LostAttempt,
        RoundParticipant,
        RoundSummary,
}

fn pool() -> DescriptorPool {
    let files = FILES.map(|file| format!("veilsum/v1/{file}.proto"));
    let set = protox::compile(files, [env!("CARGO_MANIFEST_DIR")]).unwrap();
    DescriptorPool::from_file_descriptor_set(set).unwrap()
}

/// Every message of the three files, filled; one that holds one of several is there once for each.
fn filled() -> Vec<(String, DynamicMessage)> {
    let pool = pool();
    let ours = |message: &MessageDescriptor| {
        FILES.iter().any(|file| {
            message
                .parent_file()
                .name()
                .ends_with(&format!("/{file}.proto"))
        }) && !message.is_map_entry()
    };
    let mut all = Vec::new();
    for descriptor in pool.all_messages().filter(ours) {
        let choices = descriptor.oneofs().filter(|oneof| !oneof.is_synthetic());
        let choices = choices
            .map(|oneof| oneof.fields().count())
            .max()
            .unwrap_or(1);
        for choice in 0..choices {
            all.push((descriptor.name().to_owned(), fill(&descriptor, choice)));
        }
    }
    all
}

fn fill(descriptor: &MessageDescriptor, choice: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let chosen = match field
            .containing_oneof()
            .filter(|oneof| !oneof.is_synthetic())
        {
            Some(oneof) => oneof.fields().nth(choice) == Some(field.clone()),
            None => true,
        };
        if chosen {
            message.set_field(&field, value(&field));
        }
    }
    message
}

fn value(field: &FieldDescriptor) -> Value {
    if field.is_map() {
        let entry = (MapKey::String("loss".to_owned()), Value::F64(0.5));
        return Value::Map(HashMap::from([entry]));
    }
    let number = field.number();
    let one = match field.kind() {
        Kind::Uint32 => Value::U32(100 + number),
        Kind::Uint64 | Kind::Fixed64 => Value::U64((1 << 40) + u64::from(number)),
        Kind::Double => Value::F64(f64::from(number) + 0.5),
        Kind::String => Value::String(format!("field {number}")),
        Kind::Bytes => Value::Bytes(vec![u8::try_from(number).unwrap(); 3].into()),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(inner) => Value::Message(fill(&inner, 0)),
        other => panic!("no message has a field of kind {other:?} yet"),
    };
    if field.is_list() {
        Value::List(vec![one.clone(), one])
    } else {
        one
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

#[test]
fn every_message_has_its_bytes() {
    let mut lines = String::new();
    for (name, message) in filled() {
        let bytes = message.encode_to_vec();
        assert_eq!(
            hex(&read_and_written(&name, &bytes).unwrap()),
            hex(&bytes),
            "{name}"
        );
        writeln!(lines, "{name} {}", hex(&bytes)).unwrap();
    }
    if std::env::var_os("VEILSUM_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/convert/tests/wire.txt");
        std::fs::write(path, &lines).unwrap();
        return;
    }
    // Line by line, so that a difference can be read.
    for (found, recorded) in lines.lines().zip(GOLDEN.lines()) {
        assert_eq!(found, recorded);
    }
    assert_eq!(lines.lines().count(), GOLDEN.lines().count());
}

#[test]
fn the_list_of_messages_is_complete() {
    let mut described: Vec<String> = filled().into_iter().map(|(name, _)| name).collect();
    described.dedup();
    let mut listed: Vec<&str> = NAMES.to_vec();
    described.sort();
    listed.sort_unstable();
    assert_eq!(described, listed);
}

/// A later version may say more. What this one does not know is left out, and the rest means what it meant.
#[test]
fn fields_that_are_not_known_are_ignored() {
    let number = 5_000_u32;
    let key = |wire_type: u32| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut bytes);
        bytes
    };
    let unknown = [
        [key(0), vec![0x96, 0x01]].concat(),
        [key(1), vec![7; 8]].concat(),
        [key(2), vec![3, 1, 2, 3]].concat(),
        [key(5), vec![7; 4]].concat(),
    ];
    for (name, message) in filled() {
        let bytes = message.encode_to_vec();
        for more in &unknown {
            for extended in [[&bytes[..], more].concat(), [&more[..], &bytes].concat()] {
                assert_eq!(read_and_written(&name, &extended).unwrap(), bytes, "{name}");
            }
        }
    }
}

/// What a service or a site does with bytes that came in.
fn take(name: &str, bytes: &[u8]) {
    let _ = read_and_written(name, bytes);
    read_deeply(bytes);
}

/// As every kind of message that has a meaning, since nobody says which kind the bytes are.
fn read_deeply(bytes: &[u8]) {
    macro_rules! convert {
        ($($message:ident => $value:ty,)*) => {
            $(if let Ok(message) = pb::$message::decode(bytes) {
                let _ = <$value>::try_from(message);
            })*
        };
    }
    convert! {
        Advertisement => Advertisement,
        RosterEntry => (u32, Advertisement),
        RosterConfirmation => RosterConfirmation,
        RosterCert => Certificate,
        RoundCommit => Commit,
        ShareItem => ShareItem,
        SurvivorItem => SurvivorItem,
        SurvivorCert => Certificate,
        UploadTrailer => UploadTrailer,
        UploadReceipt => Signed<Receipt>,
        AbortAttestation => AbortAttestation,
        AbortCert => Certificate,
        RoundResult => Finished,
    }
    macro_rules! over {
        ($($message:ident,)*) => {
            $(if let Ok(message) = pb::$message::decode(bytes) {
                let _ = message.over(samples::ROSTER);
            })*
        };
    }
    over! { Announcement, CohortReady, SurvivorProposal, Attestation, UnmaskList, }
    if let Ok(header) = pb::UploadHeader::decode(bytes) {
        let _ = UploadHeader::try_from(&header);
    }
    if let Ok(item) = pb::NeighbourItem::decode(bytes) {
        let _ = neighbourhood([item.clone(), item]);
    }
    if let Ok(told) = pb::Notice::decode(bytes) {
        let _ = notice::received(told.clone(), 0);
        let _ = notice::received(told, samples::ROSTER);
    }
    let _ = notice::position(bytes);
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    })
}

#[test]
fn any_bytes_at_all_are_read_without_panic() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    runner(64)
        .run(&bytes, |bytes| {
            NAMES.iter().for_each(|name| take(name, &bytes));
            Ok(())
        })
        .unwrap();
}

/// These reach the inner fields that random bytes never do.
#[test]
fn damaged_messages_are_read_without_panic() {
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let damage = (damage, any::<prop::sample::Index>());
    for (name, message) in filled() {
        let whole = message.encode_to_vec();
        runner(32)
            .run(&damage, |(changes, end)| {
                let mut bytes = whole.clone();
                for (at, byte) in changes {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                }
                take(&name, &bytes);
                bytes.truncate(end.index(bytes.len() + 1));
                take(&name, &bytes);
                Ok(())
            })
            .unwrap();
    }
}
