//! `veilsum tensor seal`: a safetensors file, or a stream of one, into a sealed file. Plaintext is never written anywhere.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::json;
use veilsum_common::limits::{MAX_SEALED_HEADER_BYTES, MAX_TENSORS};
use veilsum_common::model::{Bounds, Header};
use veilsum_daemon::files::{Act, FileError, Unnamed};
use veilsum_daemon::{clock, entropy};
use veilsum_sealed::{Declared, Lock, SealedWriter, Sender, SshIdentity, Statement};

use super::home::Home;
use super::{check_output, is_standard, passphrase, progress, sealed, secret_text, text};
use crate::args::tensor::Seal;
use crate::error::Error;
use crate::render::{self, Form, Output};

pub(super) fn run(asked: &Seal, form: Form) -> Result<Output, Error> {
    check_output(&asked.output, form)?;
    let home = Home::of(&asked.home)?;
    let signer = (!asked.unsigned)
        .then(|| signer(asked, &home))
        .transpose()?;
    let sender = signer.as_ref().map(|(key, name)| Sender {
        key,
        statement: Statement {
            sender: name.clone(),
            purpose: asked.purpose.clone(),
            created: clock::now(),
            run: None,
            round: None,
        },
    });
    let made = if let Some(path) = &asked.passphrase_file {
        let passphrase = passphrase(path)?;
        write(asked, Lock::Passphrase(&passphrase), sender, form)?
    } else {
        let resolved = home.registry()?.resolve(&asked.recipients);
        let resolved = resolved.map_err(|error| sealed(home.path(), error))?;
        if resolved.classic_only.len() < asked.recipients.len() {
            warn_of_classic(&resolved.classic_only);
        }
        write(asked, Lock::Recipients(&resolved.recipients), sender, form)?
    };
    let Made {
        file,
        sealed_bytes,
        tensors,
    } = made;
    finish(file, &asked.output)?;
    let path = asked.output.display().to_string();
    let mut output = Output {
        data: json!({
            "path": path,
            "len_bytes": sealed_bytes,
            "tensors": tensors,
            "signed": signer.is_some(),
        }),
        ..Output::default()
    };
    if !is_standard(&asked.output) {
        output.text = format!("{path}  {tensors} tensors  {sealed_bytes} bytes");
        output.next = vec![format!("veilsum tensor inspect {path} --outside")];
    }
    Ok(output)
}

/// Some recipients have post-quantum keys, and one that has none makes the file as weak as a classic one.
fn warn_of_classic(names: &[String]) {
    if !names.is_empty() {
        let names = names.join(", ");
        render::warn(&format!(
            "not safe from later quantum computers, since {names} have classic keys only"
        ));
    }
}

/// The signing key and its name, typed or from the home directory.
fn signer(asked: &Seal, home: &Home) -> Result<(SshIdentity, String), Error> {
    let path = asked.signer.clone().unwrap_or_else(|| home.signer());
    let key = SshIdentity::parse(&secret_text(&path)?).map_err(|error| sealed(&path, error))?;
    let name = match &asked.sender {
        Some(name) => name.clone(),
        None => text(&home.name())?.trim().to_owned(),
    };
    Ok((key, name))
}

/// A sealed file that has no name yet.
struct Made {
    file: Unnamed,
    sealed_bytes: u64,
    tensors: usize,
}

/// Seals all of the input.
fn write(
    asked: &Seal,
    lock: Lock<'_>,
    sender: Option<Sender<'_>>,
    form: Form,
) -> Result<Made, Error> {
    let path = &asked.file;
    let failed = |error| sealed(path, error);
    let mut input = input(path)?;
    let (header, need_bytes) = header(&mut input, path)?;
    let declared = header.tensors.iter().map(|placed| Declared {
        name: placed.name.clone(),
        dtype: placed.dtype,
        shape: placed.shape.clone(),
    });
    let file = Unnamed::public(&beside(&asked.output))?;
    let entropy = &mut entropy::fill;
    let writer = SealedWriter::begin(
        file,
        lock,
        declared.collect(),
        header.metadata,
        sender,
        entropy,
    );
    let mut writer = writer.map_err(failed)?;
    let bar = progress::bar(need_bytes, form);
    let mut input = bar.wrap_read(input);
    for placed in &header.tensors {
        let len_bytes = placed.place.end - placed.place.start;
        let mut data = (&mut input).take(len_bytes);
        writer.tensor(&placed.name, &mut data).map_err(failed)?;
    }
    let more = input.read(&mut [0]).map_err(|error| unread(path, error))?;
    if more != 0 {
        return Err(failed(veilsum_sealed::Error::LengthMismatch {
            have_bytes: need_bytes + more as u64,
            need_bytes,
        }));
    }
    bar.finish_and_clear();
    let (file, sealed_bytes) = writer.finish().map_err(failed)?;
    Ok(Made {
        file,
        sealed_bytes,
        tensors: header.tensors.len(),
    })
}

fn input(path: &Path) -> Result<Box<dyn Read>, Error> {
    if is_standard(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| unread(path, error))?;
    Ok(Box::new(file))
}

/// Reads the header off the start of a safetensors stream; with it, how long the whole stream must be.
fn header(input: &mut dyn Read, path: &Path) -> Result<(Header, u64), Error> {
    let bounds = Bounds {
        header_bytes: MAX_SEALED_HEADER_BYTES,
        tensors: MAX_TENSORS,
    };
    let mut length = [0; 8];
    let read = input.read_exact(&mut length);
    read.map_err(|error| unread(path, error))?;
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > bounds.header_bytes {
        let error = veilsum_sealed::Error::HeaderTooLarge {
            header_bytes,
            limit_bytes: bounds.header_bytes,
        };
        return Err(sealed(path, error));
    }
    let mut json = Vec::new();
    let read = input.take(header_bytes).read_to_end(&mut json);
    read.map_err(|error| unread(path, error))?;
    Header::parse(&json, bounds).map_err(|error| sealed(path, error.into()))
}

fn unread(path: &Path, source: io::Error) -> Error {
    Error::File(FileError::Io {
        act: Act::Read,
        path: path.to_owned(),
        source,
    })
}

/// Where a file is made that goes to `output`: beside it, or, on its way to standard output, where temporary files are. It is encrypted.
fn beside(output: &Path) -> PathBuf {
    if is_standard(output) {
        std::env::temp_dir().join("veilsum-sealed")
    } else {
        output.to_owned()
    }
}

fn finish(mut file: Unnamed, output: &Path) -> Result<(), Error> {
    if !is_standard(output) {
        return Ok(file.keep(output)?);
    }
    let copied = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| io::copy(&mut file, &mut io::stdout().lock()));
    copied.map(|_| ()).map_err(|source| Error::System {
        what: "write to standard output",
        source,
    })
}
