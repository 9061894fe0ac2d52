//! How much memory bytes from outside take while they are decoded and read: measured, not computed.
//!
//! A limit in bytes bounds memory only if no byte costs much more than another. So every message is made to cost as much as it can, with
//! lists of entries that say nothing, lengths that promise more than there is and nesting without end, and must stay below so many
//! times its length. Where the limits of the calls are set: the coordinator's `grpc::edge`, the site's `link`, the operator's `client`.

mod greedy;
mod reading;
/// What the crate's own tests are about.
#[cfg(test)]
#[path = "../../src/convert/samples.rs"]
#[allow(dead_code, reason = "not every sample can be made larger")]
mod samples;
mod whole;

use std::collections::BTreeMap;

use allocation_counter::measure;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use prost::encoding::{decode_varint, encode_varint};
use protox::prost_reflect::{MessageDescriptor, MethodDescriptor};
// For the samples, which name them as their neighbours.
use veilsum_common::limits::{
    MAX_ANSWER_BYTES, MAX_CALL_BYTES, MAX_FAULT_BYTES, MAX_MESSAGE_BYTES, MAX_NEWS_BYTES,
    MAX_PART_BYTES,
};
use veilsum_proto::convert::{Signed, round};

/// Most bytes of memory for one byte of what a coordinator is asked. An empty item of a list is two bytes on the wire and 24 in memory,
/// and a list that has just grown is there three times over: 36.
const ASKED: usize = 40;
/// Most bytes of memory for one byte of what a site or an operator is told, or of a fault file. An empty run in a list of runs is two
/// bytes on the wire and 152 in memory: three times over, 228.
const TOLD: usize = 256;
/// Memory that does not depend on the message: what an error says, and the first entries of lists.
const FIXED_BYTES: usize = 8 * 1024;

/// What any message may take, if a coordinator or anybody else reads it.
fn bound(factor: usize, bytes: usize) -> usize {
    factor * bytes + FIXED_BYTES
}

/// Most memory that was in use at once while the bytes were read.
fn peak(name: &str, bytes: &[u8]) -> usize {
    let measured = measure(|| {
        reading::read(name, bytes);
    });
    assert_eq!(measured.bytes_current, 0, "{name} leaves memory behind");
    usize::try_from(measured.bytes_max).expect("memory is counted in usize")
}

fn check(name: &str, factor: usize, bytes: &[u8]) {
    let (have, limit) = (peak(name, bytes), bound(factor, bytes.len()));
    let begin = &bytes[..bytes.len().min(40)];
    assert!(
        have <= limit,
        "{name} of {} bytes, {begin:?} and so on, took {have} bytes; {limit} are allowed",
        bytes.len()
    );
}

/// What is sent to each method and what it answers: how many bytes of it are decoded at most, and what each may cost.
fn carriers() -> BTreeMap<String, (MessageDescriptor, usize, usize)> {
    let mut all = BTreeMap::new();
    let mut add = |message: MessageDescriptor, limit_bytes, factor| {
        all.insert(message.name().to_owned(), (message, limit_bytes, factor));
    };
    let pool = greedy::pool();
    for service in pool.services() {
        for method in service.methods() {
            add(method.input(), asked_bytes(&method), ASKED);
            add(method.output(), told_bytes(&method), TOLD);
        }
    }
    let fault = pool.get_message_by_name("veilsum.v1.FaultEvidence");
    add(fault.expect("a fault file holds it"), MAX_FAULT_BYTES, TOLD);
    all
}

fn asked_bytes(method: &MethodDescriptor) -> usize {
    match method.name() {
        "SubmitMasked" | "CreateRun" => MAX_PART_BYTES,
        _ => MAX_CALL_BYTES,
    }
}

fn told_bytes(method: &MethodDescriptor) -> usize {
    match (method.parent_service().name(), method.name()) {
        (_, "Poll") => MAX_NEWS_BYTES,
        (_, "FetchRun") => MAX_MESSAGE_BYTES,
        (_, "FetchModel") => MAX_PART_BYTES,
        ("RunService", _) => MAX_ANSWER_BYTES,
        (_, _) => MAX_CALL_BYTES,
    }
}

/// The bytes that `wire.txt` records of every message, each field filled.
fn golden() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let lines = include_str!("../../src/convert/tests/wire.txt").lines();
    lines.map(|line| {
        let (name, digits) = line.split_once(' ').expect("a name, then the bytes");
        let digits = digits.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| {
            let pair = str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        };
        (name, digits.iter().map(byte).collect())
    })
}

#[test]
fn the_list_of_messages_is_complete() {
    for message in greedy::pool().all_messages() {
        let ours = message.parent_file().name() != "veilsum/v1/fault.proto";
        assert!(
            !ours || message.is_map_entry() || reading::NAMES.contains(&message.name()),
            "nobody measures {}",
            message.name()
        );
    }
    let carried: Vec<String> = carriers().into_keys().collect();
    assert!(
        carried
            .iter()
            .all(|name| reading::NAMES.contains(&name.as_str()))
    );
    assert_eq!(carried.len(), 2 * 24 + 1, "{carried:?}");
}

#[test]
fn no_message_takes_more_than_its_factor_whatever_its_lists_hold() {
    for (name, (message, limit_bytes, factor)) in carriers() {
        for bytes in greedy::greedy(&message, limit_bytes.min(MAX_CALL_BYTES)) {
            check(&name, factor, &bytes);
        }
    }
}

/// What is refused at its first field shows nothing of how the others are read, so here the rest of each message is as it must be.
#[test]
fn a_long_list_in_a_sound_message_takes_no_more_either() {
    let pool = greedy::pool();
    for (name, sound) in whole::whole() {
        check(name, TOLD, &sound);
        assert!(reading::read(name, &sound), "{name} is not sound");
        let message = pool.get_message_by_name(&format!("veilsum.v1.{name}"));
        let lists = greedy::greedy(&message.expect("it has a type"), MAX_CALL_BYTES);
        for list in lists {
            // One message after the other is one message with the lists of both.
            check(name, TOLD, &[&sound[..], &list].concat());
        }
    }
}

/// The worst of each kind, as long as its call takes it: what one call can cost at most.
#[test]
fn the_largest_message_of_each_call_takes_no_more_than_its_limit_says() {
    for (name, (message, limit_bytes, factor)) in carriers() {
        let small = greedy::greedy(&message, SMALL_BYTES);
        let cost = |bytes: &Vec<u8>| peak(&name, bytes) * SMALL_BYTES / bytes.len();
        let Some(worst) = (0..small.len()).max_by_key(|at| cost(&small[*at])) else {
            continue; // no list: what it takes is its own length, see the lengths below
        };
        let bytes = &greedy::greedy(&message, limit_bytes)[worst];
        assert!((limit_bytes / 3..=limit_bytes).contains(&bytes.len()));
        let (have, limit) = (peak(&name, bytes), bound(factor, limit_bytes));
        assert!(have <= limit, "{name}: {have} of {limit} bytes");
    }
}

#[test]
fn a_length_that_promises_more_than_there_is_takes_nothing() {
    for message in greedy::pool().all_messages() {
        let name = message.name();
        for bytes in greedy::promises(&message) {
            if reading::NAMES.contains(&name) {
                check(name, TOLD, &bytes);
            }
        }
    }
}

#[test]
fn one_long_field_takes_a_few_times_its_length() {
    for (name, (message, limit_bytes, _)) in carriers() {
        for bytes in greedy::long(&message, limit_bytes) {
            check(&name, 4, &bytes);
        }
    }
}

#[test]
fn nesting_takes_a_few_times_its_length() {
    for name in reading::NAMES {
        for bytes in greedy::nested(MAX_CALL_BYTES) {
            check(name, 8, &bytes);
        }
    }
}

#[test]
fn damaged_messages_take_no_more_than_whole_ones() {
    for (name, bytes) in golden().chain(whole::whole()) {
        for damaged in greedy::damaged(&bytes) {
            check(name, TOLD, &damaged);
        }
    }
}

#[test]
fn any_bytes_at_all_take_no_more_than_messages() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..2000);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(64)
    });
    let measured = runner.run(&bytes, |bytes| {
        for name in reading::NAMES {
            check(name, TOLD, &bytes);
        }
        Ok(())
    });
    measured.expect("each stays below its bound");
}

/// Without this the tests above could pass because nothing is counted.
#[test]
fn a_decoder_that_believes_a_length_is_noticed() {
    let mut promise = Vec::new();
    encode_varint(1 << 20, &mut promise);
    let believed = measure(|| {
        let length = decode_varint(&mut promise.as_slice()).expect("it was encoded");
        drop(vec![0_u8; usize::try_from(length).expect("one megabyte")]);
    });
    assert!(believed.bytes_max > bound(TOLD, promise.len()) as u64);
}

/// As long as a list must be for its worst kind of entry to be seen.
const SMALL_BYTES: usize = 4 * 1024;
