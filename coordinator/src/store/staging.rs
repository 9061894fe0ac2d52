//! Uploads on their way in, and those that wait to be folded: one file for each site of an attempt.
//!
//! A file holds the packed vector and behind it one BLAKE3 hash for each chunk. A part is there once its bytes and the hashes of its chunks
//! are synced; after a crash hashes may have come to the disk before bytes, so a file that this process has not written is looked through
//! before anything of it counts. An accepted upload is named by the root over its hashes, and each chunk is checked against its own hash
//! whenever it is read. Whether a file is still needed is the round's business; all files of an attempt go at once when it is over.
//! Calls block: an async caller puts them on a blocking thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use veilsum_common::ids::RunId;
use veilsum_common::parts::Parts;
use veilsum_secagg::Digest;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::participant::chunk_root;

use super::StreamId;
use super::blobs::Error;
use super::disk::{Disk, at, make_dir, names, reserve};

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
    /// Those that this process has looked through.
    known: Arc<Mutex<BTreeMap<Slot, Arc<Upload>>>>,
}

impl Staging {
    /// Takes the directory, or makes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(dir: &Path) -> Result<Self, Error> {
        make_dir(dir).map_err(at(dir))?;
        Ok(Self {
            disk: Disk::new(dir),
            known: Arc::default(),
        })
    }

    /// Waits until a sync has failed, and tells which. The process must exit then.
    pub async fn failed(&self) -> Error {
        self.disk.failed().await
    }

    /// The upload of `slot` with whatever is there of it, and room for the rest: a full disk is met here and not in the middle.
    ///
    /// # Errors
    /// [`Error::Io`]; its kind is `StorageFull` if there is no room.
    pub fn upload(&self, slot: Slot, parts: Parts) -> Result<Arc<Upload>, Error> {
        if let Some(known) = self.known().get(&slot) {
            return Ok(Arc::clone(known));
        }
        self.disk.check()?;
        let path = self.path(&slot);
        let dir = self.dir(slot.stream);
        self.disk.make_dirs(&dir)?;
        let before = path.exists();
        let file = open(&path, OpenOptions::new().create(true).write(true))?;
        if let Err(full) = reserve(&file, parts.total_bytes() + table_bytes(parts)) {
            // What another process has left may hold durable parts.
            if !before {
                drop(fs::remove_file(&path));
            }
            return Err(at(&path)(full));
        }
        self.disk.sync_dir(&dir)?;
        let upload = Upload {
            disk: self.disk.clone(),
            hashes: Mutex::new(whole_parts(&file, parts)),
            file,
            path,
            parts,
        };
        let upload = Arc::new(upload);
        let mut known = self.known();
        Ok(Arc::clone(known.entry(slot).or_insert(upload)))
    }

    /// An accepted upload, to be folded: the one whose chunks have this root.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`] if its hashes do not have the root, [`Error::Io`].
    pub fn staged(&self, slot: &Slot, parts: Parts, root: &Digest) -> Result<Staged, Error> {
        let path = self.path(slot);
        let file = match open(&path, &mut OpenOptions::new()) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(Error::NotFound { digest: *root });
            }
            opened => opened?,
        };
        let hashes = table(&file, parts).map_err(at(&path))?;
        let found = chunk_root(&hashes).unwrap_or(Digest::ZERO);
        if found != *root {
            let expected = *root;
            return Err(Error::Corrupt { expected, found });
        }
        Ok(Staged {
            file,
            path,
            parts,
            hashes,
        })
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
}

/// One upload on its way in. Its parts may come in any order, each by one writer at a time.
pub struct Upload {
    disk: Disk,
    file: File,
    path: PathBuf,
    parts: Parts,
    /// By chunk; those of a part are set together, once it is durable.
    hashes: Mutex<Vec<Option<Digest>>>,
}

impl Upload {
    /// How it is cut.
    pub fn parts(&self) -> Parts {
        self.parts
    }

    /// Whether a part is durable.
    pub fn has(&self, part: u64) -> bool {
        let hashes = self.hashes();
        let mut chunks = self.parts.chunks_of(part);
        chunks.all(|chunk| hashes[place(chunk)].is_some())
    }

    /// The durable parts: bit (k mod 8) of byte ⌊k/8⌋ is part k.
    pub fn have(&self) -> Vec<u8> {
        let mut have = vec![0; place(self.parts.count().div_ceil(8))];
        for part in (0..self.parts.count()).filter(|part| self.has(*part)) {
            have[place(part / 8)] |= 1 << (part % 8);
        }
        have
    }

    /// The root over all chunks, once every part is durable.
    pub fn root(&self) -> Option<Digest> {
        let hashes: Option<Vec<Digest>> = self.hashes().iter().copied().collect();
        chunk_root(&hashes?)
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

    /// Makes a part durable whose chunks are written and have these hashes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotDurable`].
    pub fn keep(&self, part: u64, hashes: &[Digest]) -> Result<(), Error> {
        let chunks = self.parts.chunks_of(part);
        let rows: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
        let offset = self.parts.total_bytes() + chunks.start * HASH_BYTES;
        let written = self.file.write_all_at(&rows, offset);
        written.map_err(at(&self.path))?;
        self.disk.sync(&self.file, &self.path)?;
        let mut known = self.hashes();
        for (chunk, hash) in chunks.zip(hashes) {
            known[place(chunk)] = Some(*hash);
        }
        Ok(())
    }

    fn hashes(&self) -> MutexGuard<'_, Vec<Option<Digest>>> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An accepted upload, chunk by chunk.
pub struct Staged {
    file: File,
    path: PathBuf,
    parts: Parts,
    hashes: Vec<Digest>,
}

impl Staged {
    /// Reads a chunk and checks its hash.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Io`].
    pub fn chunk(&self, chunk: u64, packed: &mut Vec<u8>) -> Result<(), Error> {
        packed.resize(self.parts.chunk_bytes(chunk), 0);
        let read = self.file.read_exact_at(packed, self.parts.chunk_at(chunk));
        read.map_err(at(&self.path))?;
        let (expected, found) = (self.hashes[place(chunk)], Digest::of_bulk(packed));
        if found == expected {
            Ok(())
        } else {
            Err(Error::Corrupt { expected, found })
        }
    }
}

/// What of a file that another process may have left can be relied on: the parts whose chunks all have their hashes.
fn whole_parts(file: &File, parts: Parts) -> Vec<Option<Digest>> {
    let mut hashes = vec![None; place(parts.chunks())];
    let Ok(table) = table(file, parts) else {
        return hashes;
    };
    let mut packed = Vec::new();
    for part in 0..parts.count() {
        let mut whole = parts.chunks_of(part).map(|chunk| {
            packed.resize(parts.chunk_bytes(chunk), 0);
            let read = file.read_exact_at(&mut packed, parts.chunk_at(chunk));
            read.is_ok() && Digest::of_bulk(&packed) == table[place(chunk)]
        });
        if whole.all(|whole| whole) {
            for chunk in parts.chunks_of(part).map(place) {
                hashes[chunk] = Some(table[chunk]);
            }
        }
    }
    hashes
}

/// All rows of hashes; rows that were never written are zero, or beyond the end.
fn table(file: &File, parts: Parts) -> io::Result<Vec<Digest>> {
    let mut rows = vec![0; place(table_bytes(parts))];
    let mut filled = 0;
    while filled < rows.len() {
        match file.read_at(&mut rows[filled..], parts.total_bytes() + filled as u64)? {
            0 => break,
            some => filled += some,
        }
    }
    let rows = rows.chunks_exact(place(HASH_BYTES));
    Ok(rows
        .map(|row| Digest(row.try_into().expect("rows of 32 bytes")))
        .collect())
}

fn table_bytes(parts: Parts) -> u64 {
    parts.chunks() * HASH_BYTES
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
/// Bytes of one row.
const HASH_BYTES: u64 = 32;
