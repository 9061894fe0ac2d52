use std::collections::BTreeMap;
use std::io::Cursor;

use safetensors::SafeTensors;
use veilsum_common::time::Timestamp;

use super::*;
use crate::age::Container;
use crate::gate::{Decide, Decision, Gate, Record, Request, Unrecorded};
use crate::keys::SshIdentity;
use crate::{Error, Identity, Lock, Recipient, Statement, Trust};

pub(crate) mod hostile;
mod signed;

/// Bytes that differ from call to call and are the same in every run.
pub(crate) struct Counter(pub(crate) u64);

impl crate::Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.finalize_xof().fill(out);
        self.0 += 1;
    }
}

/// A gate that gives one answer and remembers what it was asked.
pub(crate) struct Porter {
    pub(crate) answer: Decision,
    pub(crate) asked: Vec<Request>,
    pub(crate) broken: bool,
}

struct Always(Decision);

impl Decide for Always {
    fn decide(&self, _: &Request) -> Decision {
        self.0
    }
}

impl Record for Porter {
    fn record(&mut self, request: &Request, _: Decision) -> Result<(), Unrecorded> {
        if self.broken {
            return Err("the disk is full".into());
        }
        self.asked.push(request.clone());
        Ok(())
    }
}

impl Porter {
    pub(crate) fn permits() -> Self {
        Self {
            answer: Decision::Permit,
            asked: Vec::new(),
            broken: false,
        }
    }

    pub(crate) fn gate<T>(&mut self, with: impl FnOnce(&mut Gate<'_>) -> T) -> T {
        let decide = Always(self.answer);
        with(&mut Gate {
            decide: &decide,
            record: self,
            at: NOW,
        })
    }
}

pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// A sender, a reader, and what the reader trusts.
pub(crate) struct World {
    pub(crate) signer: SshIdentity,
    pub(crate) reader: [Identity; 1],
    pub(crate) trust: Trust,
}

pub(crate) fn world() -> World {
    let signer = SshIdentity::draw(&mut Counter(1000));
    World {
        trust: Trust::only("site-a", signer.public().clone()),
        signer,
        reader: [Identity::draw(&mut Counter(2000))],
    }
}

pub(crate) fn statement() -> Statement {
    Statement {
        sender: "site-a".to_owned(),
        purpose: "training".to_owned(),
        created: NOW,
        run: None,
        round: Some(7),
    }
}

impl World {
    pub(crate) fn recipients(&self) -> [Recipient; 1] {
        [self.reader[0].recipient().unwrap()]
    }

    /// Seals tensors of bytes.
    pub(crate) fn seal(&self, tensors: &[(&str, Vec<u8>)], signed: bool) -> Vec<u8> {
        let sender = signed.then(|| Sender {
            key: &self.signer,
            statement: statement(),
        });
        seal_to(&self.recipients(), tensors, sender)
    }

    pub(crate) fn open<'a>(
        &self,
        file: &'a Vec<u8>,
        verify: Verify<'_>,
    ) -> Result<SealedFile<'a>, Error> {
        Porter::permits().gate(|gate| {
            let opening = Opening {
                identities: &self.reader,
                verify,
                gate,
            };
            SealedFile::open(file, opening)
        })
    }

    pub(crate) fn trusting(&self) -> Verify<'_> {
        Verify::Sender {
            trust: &self.trust,
            purpose: Some("training"),
        }
    }
}

pub(crate) fn seal_to(
    recipients: &[Recipient],
    tensors: &[(&str, Vec<u8>)],
    sender: Option<Sender<'_>>,
) -> Vec<u8> {
    let declared = tensors.iter().map(|(name, bytes)| declared(name, bytes));
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut writer = SealedWriter::begin(
        Cursor::new(Vec::new()),
        Lock::Recipients(recipients),
        declared.collect(),
        metadata,
        sender,
        &mut Counter(0),
    )
    .unwrap();
    for (name, bytes) in tensors {
        writer.tensor(name, &mut bytes.as_slice()).unwrap();
    }
    let (out, len_bytes) = writer.finish().unwrap();
    let bytes = out.into_inner();
    assert_eq!(bytes.len() as u64, len_bytes);
    bytes
}

fn declared(name: &str, bytes: &[u8]) -> Declared {
    Declared {
        name: name.to_owned(),
        dtype: Dtype::U8,
        shape: vec![bytes.len() as u64],
    }
}

pub(crate) fn bytes(len: usize, seed: u8) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at * 31 + at / 256) % 251).unwrap() ^ seed;
    (0..len).map(byte).collect()
}

/// Some tensors over several chunks, and one that is empty.
pub(crate) fn three() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a", bytes(200_000, 1)),
        ("none", Vec::new()),
        ("b", bytes(70_001, 2)),
    ]
}

#[test]
fn every_tensor_comes_back_alone() {
    let world = world();
    for signed in [false, true] {
        let file = world.seal(&three(), signed);
        let verify = if signed {
            world.trusting()
        } else {
            Verify::Anybody
        };
        let opened = world.open(&file, verify).unwrap();
        for (name, bytes) in three().into_iter().rev() {
            let tensor = opened.tensor(name).unwrap();
            assert_eq!(tensor.shape, [bytes.len() as u64]);
            assert!(tensor.bytes == bytes, "{name}");
        }
        assert!(matches!(opened.tensor("c"), Err(Error::NoTensor { .. })));
    }
}

#[test]
fn what_is_inside_is_a_plain_safetensors_file() {
    let world = world();
    let file = world.seal(&three(), true);
    let inside = Container::open(&file, &world.reader, 1 << 20).unwrap();
    let plain = SafeTensors::deserialize(&inside).unwrap();
    assert_eq!(plain.names().len(), 3);
    assert!(plain.tensor("b").unwrap().data() == bytes(70_001, 2));
    let (length, metadata) = SafeTensors::read_metadata(&inside).unwrap();
    assert_eq!(length % 8, 0);
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let mut copied = Vec::new();
    let opened = world.open(&file, world.trusting()).unwrap();
    let sink = |block: &[u8]| {
        copied.extend_from_slice(block);
        Ok::<(), Error>(())
    };
    opened.copy_to(sink).unwrap();
    assert!(copied == *inside);
}

#[test]
fn a_file_may_be_as_small_as_a_header_and_end_where_a_chunk_does() {
    let world = world();
    let empty = world.seal(&[], true);
    let opened = world.open(&empty, world.trusting()).unwrap();
    let head = opened.len_bytes();
    assert!(opened.tensors().is_empty());
    let one = world.seal(&[("a", vec![9])], false);
    let one_head = world.open(&one, Verify::Anybody).unwrap().len_bytes() - 1;
    assert!(one_head < head);
    // around the border of the chunk that the header is held back with, and of the next one
    for chunk in [65_536_u64, 131_072] {
        for total in [chunk - 1, chunk, chunk + 1] {
            let data = bytes(usize::try_from(total - 96).unwrap(), 3);
            let file = world.seal(&[("a", data.clone())], false);
            let opened = world.open(&file, Verify::Anybody).unwrap();
            let over = opened.len_bytes().abs_diff(total);
            assert!(over < 64, "{over} from the border");
            assert!(opened.tensor("a").unwrap().bytes == data);
        }
    }
}

#[test]
fn a_payload_ends_exactly_where_a_chunk_does() {
    let world = world();
    let head = |data: usize| {
        let file = world.seal(&[("a", vec![0; data])], false);
        world.open(&file, Verify::Anybody).unwrap().len_bytes() - data as u64
    };
    let data = usize::try_from(131_072 - head(130_000)).unwrap();
    for data in [data - 1, data, data + 1] {
        let text = bytes(data, 4);
        let file = world.seal(&[("a", text.clone())], false);
        let opened = world.open(&file, Verify::Anybody).unwrap();
        assert!(opened.len_bytes().abs_diff(131_072) <= 1);
        assert!(opened.tensor("a").unwrap().bytes == text);
    }
}

#[test]
fn rows_are_those_of_the_first_dimension() {
    let world = world();
    let data = bytes(300 * 1000, 5);
    let shape = vec![300, 10, 50];
    let mut writer = SealedWriter::begin(
        Cursor::new(Vec::new()),
        Lock::Recipients(&world.recipients()),
        vec![Declared {
            name: "w".to_owned(),
            dtype: Dtype::F16,
            shape,
        }],
        BTreeMap::new(),
        Some(Sender {
            key: &world.signer,
            statement: statement(),
        }),
        &mut Counter(0),
    )
    .unwrap();
    writer.tensor("w", &mut data.as_slice()).unwrap();
    let file = writer.finish().unwrap().0.into_inner();
    for verify in [world.trusting(), Verify::AeadOnly] {
        let opened = world.open(&file, verify).unwrap();
        for (start, end) in [(0, 300), (0, 0), (17, 18), (299, 300), (60, 200)] {
            let rows = opened.rows("w", start..end).unwrap();
            assert_eq!(rows.shape, [end - start, 10, 50]);
            let (start, end) = (
                usize::try_from(start).unwrap(),
                usize::try_from(end).unwrap(),
            );
            assert!(rows.bytes == data[start * 1000..end * 1000]);
        }
        for (start, end) in [(0, 301), (2, 1), (u64::MAX, u64::MAX)] {
            let error = opened.rows("w", start..end).unwrap_err();
            assert!(matches!(error, Error::Rows { have: 300, .. }), "{error}");
        }
    }
}

#[test]
fn what_is_declared_and_what_is_given_must_agree() {
    let world = world();
    let recipients = world.recipients();
    let begin = |tensors: &[Declared]| {
        SealedWriter::begin(
            Cursor::new(Vec::new()),
            Lock::Recipients(&recipients),
            tensors.to_vec(),
            BTreeMap::new(),
            None,
            &mut Counter(0),
        )
    };
    let one = declared("a", &[1, 2]);
    let odd = Declared {
        dtype: Dtype::F4,
        shape: vec![3],
        ..one.clone()
    };
    let huge = Declared {
        shape: vec![u64::MAX, 2],
        ..one.clone()
    };
    let long = declared(&"x".repeat(513), &[1]);
    for tensors in [
        vec![one.clone(), one.clone()],
        vec![odd],
        vec![huge],
        vec![long],
        vec![declared("", &[1])],
        vec![declared("__metadata__", &[1])],
    ] {
        let error = begin(&tensors).err().unwrap();
        assert!(matches!(error, Error::Declared { .. }), "{error}");
    }
    let two = [one, declared("b", &[3])];
    let mut writer = begin(&two).unwrap();
    let early = writer.tensor("b", &mut &[3][..]).unwrap_err();
    assert!(matches!(early, Error::Declared { .. }), "{early}");
    assert_eq!(writer.next().unwrap().name, "a");
    writer.tensor("a", &mut &[1, 2][..]).unwrap();
    assert!(matches!(writer.finish(), Err(Error::Declared { tensor, .. }) if tensor == "b"));
    for data in [&[1][..], &[1, 2, 3][..]] {
        let mut writer = begin(&two).unwrap();
        let error = writer.tensor("a", &mut &*data).unwrap_err();
        assert!(
            matches!(error, Error::DataLength { need_bytes: 2, .. }),
            "{error}"
        );
        // nothing can follow what broke off
        assert!(writer.tensor("a", &mut &[1, 2][..]).is_err());
        assert!(writer.finish().is_err());
    }
}

#[test]
fn metadata_cannot_hold_the_keys_of_the_signature() {
    let world = world();
    for key in ["veilsum.manifest", "veilsum.sig"] {
        let begun = SealedWriter::begin(
            Cursor::new(Vec::new()),
            Lock::Recipients(&world.recipients()),
            Vec::new(),
            BTreeMap::from([(key.to_owned(), String::new())]),
            None,
            &mut Counter(0),
        );
        assert!(matches!(begun.err(), Some(Error::ReservedKey { .. })));
    }
}

#[test]
fn the_gate_is_asked_first_and_what_cannot_be_recorded_is_not_done() {
    let world = world();
    let file = world.seal(&three(), true);
    let open = |porter: &mut Porter, file: &Vec<u8>| {
        porter.gate(|gate| {
            let opening = Opening {
                identities: &world.reader,
                verify: world.trusting(),
                gate,
            };
            SealedFile::open(file, opening).map(|_| ())
        })
    };
    let mut porter = Porter::permits();
    open(&mut porter, &file).unwrap();
    let [asked] = porter.asked.as_slice() else {
        panic!("one question");
    };
    assert_eq!(asked.identities, [world.reader[0].fingerprint()]);
    assert_eq!(asked.purpose.as_deref(), Some("training"));
    assert_eq!((asked.payload.len(), asked.at), (32, NOW));

    porter.answer = Decision::Deny;
    // a file that would not open either is denied all the same: no key was tried on it
    let mut damaged = file.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for file in [&file, &damaged] {
        let error = open(&mut porter, file).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
    }
    assert_eq!(porter.asked.len(), 3, "denials are recorded as well");

    let mut porter = Porter {
        broken: true,
        ..Porter::permits()
    };
    let error = open(&mut porter, &file).unwrap_err();
    assert!(matches!(error, Error::NotRecorded(_)), "{error}");
}
