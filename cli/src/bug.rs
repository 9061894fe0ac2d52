//! A panic is a bug of ours: what is needed to report it goes into a file, and the process exits with 70.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use veilsum_daemon::files::{self, FileError};

use crate::exit::Failure;
use crate::render;

static REPORT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From now on a panic anywhere in the process leaves a report and says where it is.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| match write(panic) {
        Ok(path) => {
            render::note(&format!(
                "internal error: {panic}\nreport written to {}",
                path.display()
            ));
            *REPORT.lock().unwrap_or_else(PoisonError::into_inner) = Some(path);
        }
        Err(_) => render::note(&format!("internal error: {panic}")),
    }));
}

/// The panic that ended the command.
pub(crate) fn failure() -> Failure {
    let report = REPORT.lock().unwrap_or_else(PoisonError::into_inner).take();
    Failure::bug(report.as_deref())
}

/// What, where and how we came there. Arguments are left out: they hold paths and names of the user's.
fn write(panic: &PanicHookInfo<'_>) -> Result<PathBuf, FileError> {
    let path = std::env::temp_dir().join(format!("veilsum-report-{}.txt", std::process::id()));
    let text = format!(
        "veilsum {}\n{panic}\n{}\n",
        env!("CARGO_PKG_VERSION"),
        Backtrace::force_capture()
    );
    // For its owner alone, and never through a link that somebody laid there.
    files::create_secret(&path, text.as_bytes())?;
    Ok(path)
}
