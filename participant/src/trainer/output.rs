//! What a trainer prints: stdout to the site's log, of stderr the end is kept.
//!
//! Both are always read to their end, so that a trainer never blocks on a full pipe, and both are
//! bounded, so that it can fill neither memory nor the log.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use veilsum_common::limits::STDERR_TAIL;

/// Logs `stdout` line by line.
pub(super) async fn log(stdout: impl AsyncRead + Unpin) {
    let mut stdout = BufReader::new(stdout);
    let mut left = LOGGED_BYTES_MAX;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut stdout)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .await;
        let Ok(1..) = read else { return };
        match left.checked_sub(line.len()) {
            Some(rest) => {
                left = rest;
                tracing::info!(line = String::from_utf8_lossy(&line).trim_end(), "trainer");
            }
            None if left > 0 => {
                left = 0;
                tracing::warn!(
                    limit_bytes = LOGGED_BYTES_MAX,
                    "the trainer prints too much; the rest is not logged"
                );
            }
            None => {}
        }
    }
}

/// Reads `stderr` to its end and returns its last 4 KiB.
pub(super) async fn tail(mut stderr: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut piece = [0; STDERR_TAIL];
    loop {
        let read = stderr.read(&mut piece).await?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        kept.extend_from_slice(&piece[..read]);
        kept.drain(..kept.len().saturating_sub(STDERR_TAIL));
    }
}

/// A longer line is logged in pieces.
const LINE_BYTES_MAX: u64 = 2048;

/// Per assignment: a progress line for each of ten thousand batches.
const LOGGED_BYTES_MAX: usize = 1 << 20;
