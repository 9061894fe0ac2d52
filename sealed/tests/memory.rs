//! What writing and reading take in memory, measured: it must not grow with the file.

#![allow(
    clippy::unwrap_used,
    reason = "a test may say plainly that it expects success"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use allocation_counter::measure;
use support::{Open, random};
use veilsum_common::model::{Source, Unread};
use veilsum_common::time::Timestamp;
use veilsum_sealed::gate::Gate;
use veilsum_sealed::{
    Declared, Identity, Lock, Opening, SealedFile, SealedWriter, Sender, SshIdentity, Statement,
    Trust, Verify,
};

const MIB: u64 = 1024 * 1024;
/// Two batches of chunks for four threads, what is read at once, a header.
const BOUND_BYTES: u64 = 20 * MIB;
/// Bytes of one tensor.
const TENSOR_BYTES: u64 = MIB;

/// A file on disk, so that its bytes do not count.
struct OnDisk(std::fs::File);

impl Write for OnDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for OnDisk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl Source for OnDisk {
    fn len_bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        Ok(std::os::unix::fs::FileExt::read_exact_at(
            &self.0, out, offset,
        )?)
    }
}

struct World {
    key: SshIdentity,
    reader: [Identity; 1],
    trust: Trust,
}

fn world() -> World {
    let key = SshIdentity::draw(&mut random);
    World {
        trust: Trust::only("a", key.public().clone()),
        key,
        reader: [Identity::draw(&mut random)],
    }
}

impl World {
    /// Seals so many tensors of zeros.
    fn write(&self, tensors: u64) -> OnDisk {
        let declared = (0..tensors).map(|at| Declared {
            name: format!("layer.{at}"),
            dtype: safetensors::Dtype::F32,
            shape: vec![TENSOR_BYTES / 4],
        });
        let to = [self.reader[0].recipient().unwrap()];
        let mut writer = SealedWriter::begin(
            OnDisk(tempfile::tempfile().unwrap()),
            Lock::Recipients(&to),
            declared.collect(),
            BTreeMap::new(),
            Some(Sender {
                key: &self.key,
                statement: Statement {
                    sender: "a".to_owned(),
                    purpose: String::new(),
                    created: Timestamp(1),
                    run: None,
                    round: None,
                },
            }),
            &mut random,
        )
        .unwrap();
        while let Some(next) = writer.next() {
            let name = next.name.clone();
            let mut zeros = io::repeat(0).take(TENSOR_BYTES);
            writer.tensor(&name, &mut zeros).unwrap();
        }
        writer.finish().unwrap().0
    }

    fn open<'a>(&self, file: &'a OnDisk) -> SealedFile<'a> {
        let opening = Opening {
            identities: &self.reader,
            verify: Verify::Sender {
                trust: &self.trust,
                purpose: None,
            },
            gate: &mut Gate {
                decide: &Open,
                record: &mut Open,
                at: Timestamp(2),
            },
        };
        SealedFile::open(file, opening).unwrap()
    }
}

#[test]
fn writing_takes_the_same_memory_whatever_comes() {
    let world = world();
    for tensors in [16, 128] {
        let peak = measure(|| drop(world.write(tensors))).bytes_max;
        assert!(peak < BOUND_BYTES, "{tensors} MiB take {peak} bytes");
    }
}

#[test]
fn reading_takes_the_tensor_and_a_batch_of_chunks() {
    let world = world();
    let file = world.write(64);
    let opened = measure(|| drop(world.open(&file))).bytes_max;
    assert!(opened < MIB, "opening takes {opened} bytes");
    let file = world.open(&file);
    let one = measure(|| drop(file.tensor("layer.50").unwrap())).bytes_max;
    assert!(one < 3 * TENSOR_BYTES, "a tensor takes {one} bytes");
    let all = measure(|| file.verify_all(|_| ()).unwrap()).bytes_max;
    assert!(all < BOUND_BYTES, "all of them take {all} bytes");
}
