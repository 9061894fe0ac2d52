//! Rust code from the .proto files, in pure Rust: no protoc, no build script.
//!
//! Beside it their descriptors, which the coordinator shows to tools that ask what services there are. Both are committed, so that a
//! reader sees what is compiled and nobody needs a generator to build;
//! `xtask/tests/codegen_in_step.rs` compares it with what the .proto files give.

use std::fs;
use std::path::{Path, PathBuf};

use protox::prost_reflect::prost::Message as _;
use protox::prost_reflect::prost_types::FileDescriptorSet;

use crate::Error;

/// The files of package `veilsum.v1`, relative to `proto/`.
pub const PROTO_FILES: [&str; 5] = [
    "veilsum/v1/types.proto",
    "veilsum/v1/participant.proto",
    "veilsum/v1/run.proto",
    "veilsum/v1/journal.proto",
    "veilsum/v1/fault.proto",
];

/// The code they give, relative to the workspace.
pub const CODE: &str = "proto/src/gen/veilsum.v1.rs";

/// Their descriptors, as an encoded `google.protobuf.FileDescriptorSet` without comments, relative to the workspace.
pub const DESCRIPTORS: &str = "proto/src/gen/veilsum.v1.binpb";

/// Long byte strings: shared rather than copied on their way through the program.
const SHARED_BYTES: [&str; 2] = [".veilsum.v1.BlobChunk.data", ".veilsum.v1.UploadPiece.data"];

/// Large parts of what comes in lists: behind a pointer, since the empty entries of a list take as much memory as the largest.
const BOXED: [&str; 5] = [
    ".veilsum.v1.Notice.notice.round_open",
    ".veilsum.v1.Notice.notice.abort_proposal",
    ".veilsum.v1.Notice.notice.round_result",
    ".veilsum.v1.Run.reason",
    ".veilsum.v1.Run.lost",
];

/// Messages that hold secrets: their `Debug` is written by hand in `proto` and shows lengths only.
const SECRET: [&str; 2] = [".veilsum.v1.UnmaskList", ".veilsum.v1.UpdatePinned"];

/// Compiles the .proto files, comments and positions included.
///
/// # Errors
/// If they do not compile.
pub fn descriptors(root: &Path) -> Result<FileDescriptorSet, Error> {
    Ok(protox::compile(PROTO_FILES, [root.join("proto")])?)
}

/// What the .proto files give: each generated file with its path relative to the workspace.
///
/// # Errors
/// If the .proto files do not compile, or there is no place for temporary files.
pub fn generate(root: &Path) -> Result<[(&'static str, Vec<u8>); 2], Error> {
    let mut descriptors = descriptors(root)?;
    let code = code(descriptors.clone())?;
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    Ok([(CODE, code), (DESCRIPTORS, descriptors.encode_to_vec())])
}

/// The code, formatted.
fn code(descriptors: FileDescriptorSet) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(Error::Generate)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(folder.path())
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .skip_debug(SECRET);
    for path in SHARED_BYTES {
        builder = builder.bytes(path);
    }
    for path in BOXED {
        builder = builder.boxed(path);
    }
    builder.compile_fds(descriptors).map_err(Error::Generate)?;
    read(&folder.path().join("veilsum.v1.rs"))
}

/// Writes the generated files into the tree; returns their paths.
///
/// # Errors
/// As [`generate`], or if a file cannot be written.
pub fn write(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut written = Vec::new();
    for (path, bytes) in generate(root)? {
        let path = root.join(path);
        let folder = path.parent().expect("a generated file lies in a folder");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::File { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        fs::write(&path, bytes).map_err(failed(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// Compares the committed files with what the .proto files give.
///
/// # Errors
/// [`Error::Stale`] if one differs; else as [`generate`].
pub fn check(root: &Path) -> Result<(), Error> {
    for (path, bytes) in generate(root)? {
        let path = root.join(path);
        if read(&path)? != bytes {
            return Err(Error::Stale { path });
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
