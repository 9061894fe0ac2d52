//! Uploads on their way in, and those that wait to be folded: one file for each site of an attempt.
//!
//! A file holds a packed vector and behind it a row for each chunk: its BLAKE3 hash, and what it adds to the books. A part is there once its
//! bytes and the rows of its chunks are synced; after a crash rows may have come to the disk before bytes, so a file that this process
//! has not written is looked through before anything of it counts. An accepted upload is named by the root over its hashes, and each chunk
//! is checked against its own hash whenever it is read. A partial, which is what a batch of uploads was folded into, is a file of the same
//! form; once a part of it counts, those bytes of the uploads may go. Whether a file is still needed is the round's business; all files of
//! an attempt go at once when it is over. Calls block: an async caller puts them on a blocking thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, fadvise};
use veilsum_common::ids::RunId;
use veilsum_common::parts::{Parts, part_digest};
use veilsum_secagg::Digest;
use veilsum_secagg::checksum::{Checksum, Projections};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::participant::chunk_root;

use super::StreamId;
use super::blobs::Error;
use super::disk::{Disk, at, give_back, make_dir, names, reserve};

#[cfg(test)]
mod tests;

/// Whose upload, and for which round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The round's stream.
    pub stream: StreamId,
    /// The site's index in the roster.
    pub index: u32,
}

impl Slot {
    /// The place of member `index` in one attempt of a run.
    pub fn of(run: RunId, attempt: &Attempt, index: u32) -> Self {
        let (epoch, seq) = (attempt.roster().epoch(), attempt.announcement().seq);
        Self {
            stream: StreamId::round(run, epoch, seq),
            index,
        }
    }
}

/// A directory of uploads; its clones share it.
#[derive(Clone)]
pub struct Staging {
    disk: Disk,
    books: Arc<Seed>,
    /// Those that this process has looked through.
    known: Arc<Mutex<BTreeMap<Slot, Arc<Upload>>>>,
}

impl Staging {
    /// Takes the directory, or makes it. `books` is what the secret streams of all attempts follow from; no site knows it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(dir: &Path, books: Seed) -> Result<Self, Error> {
        make_dir(dir).map_err(at(dir))?;
        Ok(Self {
            disk: Disk::new(dir),
            books: Arc::new(books),
            known: Arc::default(),
        })
    }

    /// Waits until a sync has failed, and tells which. The process must exit then.
    pub async fn failed(&self) -> Error {
        self.disk.failed().await
    }

    /// The secret stream of an attempt.
    pub fn projections(&self, stream: StreamId) -> Projections {
        projections(&self.books, stream)
    }

    /// The upload of `slot` with whatever is there of it, and room for the rest: a full disk is met here and not in the middle.
    ///
    /// # Errors
    /// [`Error::Io`]; its kind is `StorageFull` if there is no room.
    pub fn upload(&self, slot: Slot, parts: Parts) -> Result<Arc<Upload>, Error> {
        if let Some(known) = self.known().get(&slot) {
            return Ok(Arc::clone(known));
        }
        let room = 0..parts.total_bytes() + table_bytes(parts);
        let upload = Arc::new(self.begin(self.path(&slot), parts, room)?);
        // Read from the disk itself: what a process wrote and did not sync before it was killed would be lost with the power.
        self.disk.sync(&upload.file, &upload.path)?;
        fadvise(&upload.file, 0, None, Advice::DontNeed)
            .map_err(|error| at(&upload.path)(error.into()))?;
        *upload.rows() = whole_parts(&upload.file, parts, &self.projections(slot.stream));
        let mut known = self.known();
        Ok(Arc::clone(known.entry(slot).or_insert(upload)))
    }

    /// The partial of a batch, with room for one more part of it; which of its parts count is the journal's business. One caller at a
    /// time writes it.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn partial(
        &self,
        stream: StreamId,
        batch: u32,
        parts: Parts,
        part: u64,
    ) -> Result<Upload, Error> {
        let first = parts.chunk_at(parts.chunks_of(part).start);
        let room = first..first + parts.part_bytes(part);
        self.begin(self.partial_path(stream, batch), parts, room)
    }

    /// Forgets an upload that was accepted: nothing is added to it any more.
    pub fn accepted(&self, slot: &Slot) {
        self.known().remove(slot);
    }

    /// A file for a vector and its rows, with `room` reserved in it; what another process has left stays.
    fn begin(&self, path: PathBuf, parts: Parts, room: Range<u64>) -> Result<Upload, Error> {
        self.disk.check()?;
        let dir = path.parent().expect("files are below the directory");
        self.disk.make_dirs(dir)?;
        let before = path.exists();
        let file = open(&path, OpenOptions::new().create(true).write(true))?;
        if let Err(full) = reserve(&file, room) {
            // What another process has left may hold durable parts.
            if !before {
                drop(fs::remove_file(&path));
            }
            return Err(at(&path)(full));
        }
        self.disk.sync_dir(dir)?;
        Ok(Upload {
            disk: self.disk.clone(),
            rows: Mutex::new(vec![None; place(parts.chunks())]),
            file,
            path,
            parts,
        })
    }

    /// An accepted upload, to be folded: the one whose chunks have this root.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`] if its hashes do not have the root, [`Error::Io`].
    pub fn staged(&self, slot: &Slot, parts: Parts, root: &Digest) -> Result<Staged, Error> {
        let staged = Staged::open(self.path(slot), parts, root)?;
        let found = chunk_root(&staged.hashes()).unwrap_or(Digest::ZERO);
        if found == *root {
            Ok(staged)
        } else {
            let expected = *root;
            Err(Error::Corrupt { expected, found })
        }
    }

    /// A finished partial: the one whose parts have these digests.
    ///
    /// # Errors
    /// As [`Self::staged`].
    pub fn folded(
        &self,
        stream: StreamId,
        batch: u32,
        parts: Parts,
        digests: &[Digest],
    ) -> Result<Staged, Error> {
        let first = digests.first().copied().unwrap_or(Digest::ZERO);
        let staged = Staged::open(self.partial_path(stream, batch), parts, &first)?;
        let hashes = staged.hashes();
        for (part, expected) in (0..parts.count()).zip(digests) {
            let chunks = parts.chunks_of(part);
            let found = part_digest(&hashes[place(chunks.start)..place(chunks.end)]);
            if found != *expected {
                let expected = *expected;
                return Err(Error::Corrupt { expected, found });
            }
        }
        Ok(staged)
    }

    /// Gives the bytes of one part of an upload back to the disk, now that they are in a partial.
    ///
    /// # Errors
    /// [`Error::Io`]; a file system that cannot keeps them until the attempt is over.
    pub fn let_go(&self, slot: &Slot, parts: Parts, part: u64) -> Result<(), Error> {
        let path = self.path(slot);
        let file = open(&path, OpenOptions::new().write(true))?;
        let offset = parts.chunk_at(parts.chunks_of(part).start);
        give_back(&file, offset, parts.part_bytes(part)).map_err(at(&path))
    }

    /// Removes an upload that nobody vouches for, so that its site can begin anew.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, slot: &Slot) -> Result<(), Error> {
        self.known().remove(slot);
        gone(fs::remove_file(self.path(slot)), &self.path(slot))
    }

    /// Removes all uploads of an attempt, if there are any.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(&self, stream: StreamId) -> Result<(), Error> {
        self.known().retain(|slot, _| slot.stream != stream);
        let dir = self.dir(stream);
        gone(fs::remove_dir_all(&dir), &dir)?;
        // Refused while another attempt of the run is staged, which is as it should be.
        drop(dir.parent().map(fs::remove_dir));
        Ok(())
    }

    /// Removes the uploads of every attempt that is not `open`, and says how many attempts those were. Only for a start.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sweep(&self, open: &BTreeSet<StreamId>) -> Result<u64, Error> {
        let mut swept = 0;
        for run in entries(&self.disk.root().join(ROUNDS))? {
            for dir in entries(&run)? {
                let name = dir.strip_prefix(self.disk.root()).unwrap_or(&dir);
                let stream = name.to_str().and_then(|name| name.parse().ok());
                if let Some(stream) = stream.filter(|stream| !open.contains(stream)) {
                    self.discard(stream)?;
                    swept += 1;
                }
            }
        }
        Ok(swept)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Slot, Arc<Upload>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dir(&self, stream: StreamId) -> PathBuf {
        self.disk.root().join(stream.to_string())
    }

    fn path(&self, slot: &Slot) -> PathBuf {
        self.dir(slot.stream).join(slot.index.to_string())
    }

    fn partial_path(&self, stream: StreamId, batch: u32) -> PathBuf {
        self.dir(stream).join(format!("batch-{batch}"))
    }
}

/// What is kept of a chunk besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Of its packed bytes.
    pub hash: Digest,
    /// What it adds to the books.
    pub checksum: Checksum,
}

/// One vector on its way in. Its parts may come in any order, each by one writer at a time.
pub struct Upload {
    disk: Disk,
    file: File,
    path: PathBuf,
    parts: Parts,
    /// By chunk; those of a part are set together, once it is durable.
    rows: Mutex<Vec<Option<Row>>>,
}

impl Upload {
    /// How it is cut.
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Whether a part is durable.
    pub fn has(&self, part: u64) -> bool {
        let rows = self.rows();
        let mut chunks = self.parts.chunks_of(part);
        chunks.all(|chunk| rows[place(chunk)].is_some())
    }

    /// The durable parts: bit (k mod 8) of byte ⌊k/8⌋ is part k.
    pub fn have(&self) -> Vec<u8> {
        let mut have = vec![0; place(self.parts.count().div_ceil(8))];
        for part in (0..self.parts.count()).filter(|part| self.has(*part)) {
            have[place(part / 8)] |= 1 << (part % 8);
        }
        have
    }

    /// The root over all chunks and what they add to the books, once every part is durable.
    pub fn whole(&self) -> Option<(Digest, Checksum)> {
        let (mut hashes, mut checksum) = (Vec::new(), Checksum::default());
        for row in self.rows().iter() {
            let row = row.as_ref()?;
            hashes.push(row.hash);
            checksum += &row.checksum;
        }
        Some((chunk_root(&hashes)?, checksum))
    }

    /// Writes a whole chunk, not durable yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, chunk: u64, packed: &[u8]) -> Result<(), Error> {
        self.disk.check()?;
        let offset = self.parts.chunk_at(chunk);
        let written = self.file.write_all_at(packed, offset);
        written.map_err(at(&self.path))
    }

    /// Makes a part durable whose chunks are written and have these rows.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotDurable`].
    pub fn keep(&self, part: u64, rows: &[Row]) -> Result<(), Error> {
        let chunks = self.parts.chunks_of(part);
        let bytes: Vec<u8> = rows.iter().flat_map(|row| row.to_bytes()).collect();
        let offset = self.parts.total_bytes() + chunks.start * ROW_BYTES as u64;
        let written = self.file.write_all_at(&bytes, offset);
        written.map_err(at(&self.path))?;
        self.disk.sync(&self.file, &self.path)?;
        let mut known = self.rows();
        for (chunk, row) in chunks.zip(rows) {
            known[place(chunk)] = Some(*row);
        }
        Ok(())
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Option<Row>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn to_bytes(self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        let (hash, checksum) = bytes.split_at_mut(32);
        hash.copy_from_slice(&self.hash.0);
        checksum.copy_from_slice(&self.checksum.to_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ROW_BYTES]) -> Self {
        let (hash, checksum) = bytes.split_first_chunk().expect("a row begins with a hash");
        Self {
            hash: Digest(*hash),
            checksum: Checksum::from_bytes(checksum.try_into().expect("and ends with a checksum")),
        }
    }
}

/// A whole vector, chunk by chunk.
pub struct Staged {
    file: File,
    path: PathBuf,
    parts: Parts,
    rows: Vec<Row>,
}

impl Staged {
    fn open(path: PathBuf, parts: Parts, digest: &Digest) -> Result<Self, Error> {
        let file = match open(&path, &mut OpenOptions::new()) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::NotFound { digest: *digest });
            }
            opened => opened?,
        };
        let rows = table(&file, parts).map_err(at(&path))?;
        Ok(Self {
            file,
            path,
            parts,
            rows,
        })
    }

    fn hashes(&self) -> Vec<Digest> {
        self.rows.iter().map(|row| row.hash).collect()
    }

    /// Reads a chunk and checks its hash; gives what it adds to the books.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn chunk(&self, chunk: u64, packed: &mut Vec<u8>) -> Result<&Checksum, Error> {
        packed.resize(self.parts.chunk_bytes(chunk), 0);
        let read = self.file.read_exact_at(packed, self.parts.chunk_at(chunk));
        read.map_err(at(&self.path))?;
        let Row { hash, checksum } = &self.rows[place(chunk)];
        let (expected, found) = (*hash, Digest::of_bulk(packed));
        if found == expected {
            Ok(checksum)
        } else {
            Err(Error::Corrupt { expected, found })
        }
    }
}

fn projections(books: &Seed, stream: StreamId) -> Projections {
    let seed = blake3::keyed_hash(books.expose(), stream.to_string().as_bytes());
    Projections::new(&Seed::new(*seed.as_bytes()))
}

/// What of a file that another process may have left can be relied on: the parts whose chunks all have their rows, hash and checksum.
fn whole_parts(file: &File, parts: Parts, projections: &Projections) -> Vec<Option<Row>> {
    let mut rows = vec![None; place(parts.chunks())];
    let Ok(table) = table(file, parts) else {
        return rows;
    };
    let mut packed = Vec::new();
    for part in 0..parts.count() {
        let mut whole = parts.chunks_of(part).map(|chunk| {
            packed.resize(parts.chunk_bytes(chunk), 0);
            let read = file.read_exact_at(&mut packed, parts.chunk_at(chunk));
            let (bits, count) = (parts.ring_bits(), parts.chunk_len(chunk));
            let row = || Row {
                hash: Digest::of_bulk(&packed),
                checksum: projections
                    .of_packed(chunk, bits, count, &packed)
                    .unwrap_or_default(),
            };
            read.is_ok() && row() == table[place(chunk)]
        });
        if whole.all(|whole| whole) {
            for chunk in parts.chunks_of(part).map(place) {
                rows[chunk] = Some(table[chunk]);
            }
        }
    }
    rows
}

/// All rows; those that were never written are zero, or beyond the end.
fn table(file: &File, parts: Parts) -> io::Result<Vec<Row>> {
    let mut rows = vec![0; place(table_bytes(parts))];
    let mut filled = 0;
    while filled < rows.len() {
        match file.read_at(&mut rows[filled..], parts.total_bytes() + filled as u64)? {
            0 => break,
            some => filled += some,
        }
    }
    let (rows, _) = rows.as_chunks();
    Ok(rows.iter().map(Row::from_bytes).collect())
}

fn table_bytes(parts: Parts) -> u64 {
    parts.chunks() * ROW_BYTES as u64
}

fn open(path: &Path, how: &mut OpenOptions) -> Result<File, Error> {
    how.read(true).mode(0o600).open(path).map_err(at(path))
}

/// What is not there need not be removed. Not synced: should it come back after a power cut, a sweep takes it away.
fn gone(removed: io::Result<()>, path: &Path) -> Result<(), Error> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// What is in a directory, which need not be there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    match names(dir) {
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        found => Ok(found?.into_iter().map(|name| dir.join(name)).collect()),
    }
}

/// A number of chunks, parts or their bytes as an index: a run has 2^20 chunks at most.
fn place(number: u64) -> usize {
    usize::try_from(number).expect("bounded by the chunks of a run")
}

/// What the names of rounds' streams begin with.
const ROUNDS: &str = "round";
/// Bytes of one row: hash and checksum.
const ROW_BYTES: usize = 32 + Checksum::BYTES;
