//! Bytes that make a decoder take as much as it can, made from the `.proto` files, so that no list in them is forgotten.
//!
//! What they mean is of no interest here, and whether they are refused is not either.

use prost::encoding::encode_varint;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// What stands before a message within another, at most: two bytes of a key, five of a length.
const ENVELOPE_BYTES: usize = 7;

/// The messages and services of package `veilsum.v1`; what only journals hold is left out.
pub fn pool() -> DescriptorPool {
    let files = ["types", "participant", "run", "fault"];
    let files = files.map(|file| format!("veilsum/v1/{file}.proto"));
    let set = protox::compile(files, [env!("CARGO_MANIFEST_DIR")]).expect("the files compile");
    DescriptorPool::from_file_descriptor_set(set).expect("the files are whole")
}

/// One message for each list below `message` and each kind of element that is small on the wire: as many of them as `room` bytes bear.
pub fn greedy(message: &MessageDescriptor, room: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for field in message.fields() {
        let number = field.number();
        if field.is_map() {
            all.push(entries(number, room));
        } else if field.is_list() {
            let lists = elements(&field).into_iter();
            all.extend(lists.map(|element| copies(number, &element, room)));
        }
        if let Kind::Message(inner) = field.kind() {
            let lists = greedy(&inner, room - ENVELOPE_BYTES).into_iter();
            all.extend(lists.map(|list| with_length(number, &list)));
        }
    }
    all
}

/// Elements that are small on the wire: empty, with each field of theirs alone, and with all of them.
fn elements(list: &FieldDescriptor) -> Vec<Vec<u8>> {
    let Kind::Message(element) = list.kind() else {
        return vec![Vec::new(), vec![b'x']];
    };
    let mut all = vec![Vec::new()];
    for parts in [no_parts, all_parts] {
        let fields = element.fields().filter(|field| !field.is_map());
        let each: Vec<Vec<u8>> = fields.map(|field| least(&field, parts)).collect();
        all.push(each.concat());
        all.extend(each);
    }
    all
}

/// A field that is there, and says as little as it can; nothing for a number, which never costs memory of its own.
fn least(field: &FieldDescriptor, parts: fn(&MessageDescriptor) -> Vec<u8>) -> Vec<u8> {
    match field.kind() {
        Kind::Message(inner) => with_length(field.number(), &parts(&inner)),
        Kind::Bytes | Kind::String => with_length(field.number(), b"x"),
        _ => Vec::new(),
    }
}

fn no_parts(_: &MessageDescriptor) -> Vec<u8> {
    Vec::new()
}

fn all_parts(message: &MessageDescriptor) -> Vec<u8> {
    let fields = message.fields().filter(|field| !field.is_map());
    fields.flat_map(|field| least(&field, all_parts)).collect()
}

/// As many copies of one element as there is room for, or fewer: a list takes most when it has just doubled, from a power of two on.
fn copies(number: u32, element: &[u8], room: usize) -> Vec<u8> {
    let one = with_length(number, element);
    let most = room / one.len();
    let doubled = most.saturating_sub(1).checked_ilog2();
    one.repeat(doubled.map_or(most, |log| (1 << log) + 1))
}

/// Entries of a map, each with a key of its own.
fn entries(number: u32, room: usize) -> Vec<u8> {
    let mut all = Vec::new();
    for key in 0_u32.. {
        let key = format!("{key:x}");
        let entry = with_length(number, &with_length(1, key.as_bytes()));
        if all.len() + entry.len() > room {
            break;
        }
        all.extend(entry);
    }
    all
}

/// A field of a number that has this content.
pub fn with_length(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = key(number, 2);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// What stands before a field: its number, and how its length is told.
fn key(number: u32, wire_type: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_varint(u64::from(number) << 3 | wire_type, &mut bytes);
    bytes
}

/// Every field's promise of more bytes than there are, with some of them.
pub fn promises(message: &MessageDescriptor) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for field in message.fields() {
        for length in [1 << 20, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut bytes = key(field.number(), 2);
            encode_varint(length, &mut bytes);
            bytes.extend([0; 64]);
            all.push(bytes);
        }
    }
    all
}

/// One message for each text and string of bytes below `message`, which fills all of `room`.
pub fn long(message: &MessageDescriptor, room: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let inner = room - ENVELOPE_BYTES;
    for field in message.fields().filter(|field| !field.is_map()) {
        let contents = match field.kind() {
            Kind::Message(part) => long(&part, inner),
            Kind::Bytes | Kind::String => vec![vec![b'x'; inner]],
            _ => Vec::new(),
        };
        let one = |content: Vec<u8>| with_length(field.number(), &content);
        all.extend(contents.into_iter().map(one));
    }
    all
}

/// Fields nobody knows, one within the other, as deep as `room` bytes bear: as groups, and as messages.
pub fn nested(room: usize) -> [Vec<u8>; 2] {
    let groups = key(1000, 3).repeat(room / 2);
    let mut messages = Vec::new();
    while messages.len() + 7 < room.min(4096) {
        messages = with_length(1, &messages);
    }
    [groups, messages]
}

/// `bytes` with, at every place in turn, a length of four gigabytes, a length of none, and with the rest left out.
pub fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for at in 0..bytes.len() {
        let (before, after) = bytes.split_at(at);
        all.push(before.to_vec());
        all.push([before, &[0xff, 0xff, 0xff, 0xff, 0x0f], after].concat());
        all.push([before, &[0xff, 0xff, 0xff, 0xff, 0x0f], &after[1..]].concat());
        all.push([before, &[0], &after[1..]].concat());
    }
    all
}
