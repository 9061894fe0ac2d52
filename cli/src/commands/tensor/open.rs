//! `veilsum tensor open` and `verify`: nothing gets its name, and nothing goes to standard output, before every tensor was checked.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use veilsum_daemon::files::Draft;
use veilsum_sealed::SealedFile;

use super::{check_output, is_standard, opened, progress, sealed};
use crate::args::tensor::{Open, Verify};
use crate::error::Error;
use crate::render::{Form, Output};

pub(super) fn run(asked: &Open, form: Form) -> Result<Output, Error> {
    check_output(&asked.output, form)?;
    opened(&asked.file, &asked.reader, |file| {
        if is_standard(&asked.output) {
            to_standard_output(asked, file)?;
            return Ok(Output::default());
        }
        to_file(asked, file, form)?;
        let path = asked.output.display().to_string();
        let (who, mut data) = voucher(file);
        data["path"] = path.clone().into();
        data["len_bytes"] = file.len_bytes().into();
        Ok(Output {
            data,
            text: format!("{path}  {} bytes  {who}", file.len_bytes()),
            next: Vec::new(),
        })
    })
}

pub(super) fn verify(asked: &Verify, form: Form) -> Result<Output, Error> {
    opened(&asked.file, &asked.reader, |file| {
        let bar = progress::bar(file.len_bytes(), form);
        let checked = file.copy_to(|block| {
            bar.inc(block.len() as u64);
            Ok::<(), veilsum_sealed::Error>(())
        });
        checked.map_err(|error| sealed(&asked.file, error))?;
        bar.finish_and_clear();
        let (who, mut data) = voucher(file);
        data["tensors"] = file.tensors().len().into();
        let count = file.tensors().len();
        Ok(Output {
            data,
            text: format!("{}  {count} tensors  {who}", asked.file.display()),
            next: Vec::new(),
        })
    })
}

/// Who vouches for a file, for people and for programs.
pub(super) fn voucher(file: &SealedFile<'_>) -> (String, Value) {
    match file.manifest() {
        Some(manifest) => {
            let purpose = match manifest.purpose.as_str() {
                "" => String::new(),
                purpose => format!(" for `{purpose}`"),
            };
            let data = json!({
                "signed": true,
                "sender": manifest.sender,
                "purpose": manifest.purpose,
                "created_ms": manifest.created_ms,
                "opened_by": file.opened_by().as_str(),
            });
            (format!("signed by {}{purpose}", manifest.sender), data)
        }
        None => {
            let data = json!({"signed": false, "opened_by": file.opened_by().as_str()});
            ("not signed".to_owned(), data)
        }
    }
}

fn to_file(asked: &Open, file: &SealedFile<'_>, form: Form) -> Result<(), Error> {
    let directory = match asked.output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut draft = Draft::secret(directory)?;
    let bar = progress::bar(file.len_bytes(), form);
    copy(&asked.file, file, |block| {
        bar.inc(block.len() as u64);
        Ok(draft.write(block)?)
    })?;
    bar.finish_and_clear();
    Ok(draft.keep(&asked.output)?)
}

/// Twice through the file: what is on a pipe cannot be called back.
fn to_standard_output(asked: &Open, file: &SealedFile<'_>) -> Result<(), Error> {
    copy(&asked.file, file, |_| Ok(()))?;
    let mut out = io::stdout().lock();
    let failed = |source| Error::System {
        what: "write to standard output",
        source,
    };
    copy(&asked.file, file, |block| {
        out.write_all(block).map_err(failed)
    })?;
    out.flush().map_err(failed)
}

/// What stopped a copy: the sealed file, or where it went.
enum Stopped {
    Sealed(veilsum_sealed::Error),
    Sink(Error),
}

impl From<veilsum_sealed::Error> for Stopped {
    fn from(error: veilsum_sealed::Error) -> Self {
        Self::Sealed(error)
    }
}

fn copy(
    path: &Path,
    file: &SealedFile<'_>,
    mut sink: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let copied = file.copy_to(|block| sink(block).map_err(Stopped::Sink));
    copied.map_err(|stopped| match stopped {
        Stopped::Sealed(error) => sealed(path, error),
        Stopped::Sink(error) => error,
    })
}
