//! Which runs this site takes part in: asks the coordinator for offers, and keeps one loop per run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use veilsum_common::limits::{HOLD_MAX_MS, MAX_RUNS_AT_ONCE, MAX_RUNS_TAKEN_UP};
use veilsum_common::{RunId, Span};
use veilsum_daemon::backoff::Backoff;
use veilsum_engine::rejection::Rejection;
use veilsum_proto::convert::notice::{Received, received};

use crate::driver::{RunError, SOON, take_part};
use crate::journal::Error as JournalError;
use crate::link;
use crate::replay;
use crate::site::Site;

/// Whether a run may be taken up again after its loop ended.
enum Ended {
    /// It is over, or the site will not take part.
    ForGood,
    /// The store failed: the process must exit, since nothing it acknowledges could be trusted.
    StoreFailed(RunError),
}

/// Takes part in every run that is offered, until the daemon stops or its store has failed.
///
/// # Errors
/// [`RunError::Journal`] or [`RunError::Marker`].
pub async fn serve(site: Arc<Site>) -> Result<(), RunError> {
    let mut loops: JoinSet<(RunId, Result<(), RunError>)> = JoinSet::new();
    // What was taken up goes on, offered or not: a run that ended meanwhile is not offered, and its end has to be heard.
    let mut known = remembered(&site)?;
    for run_id in known.iter().copied() {
        let site = Arc::clone(&site);
        loops.spawn(async move { (run_id, take_part(site, run_id).await) });
    }
    let (mut cursor, mut hold_ms) = (Vec::new(), 0);
    let mut backoff = Backoff::new(Span::from_ms(50), Span::from_secs(5));
    loop {
        let asked = Instant::now();
        tokio::select! {
            () = site.shutdown.triggered() => break,
            Some(ended) = loops.join_next() => {
                let Ok((run, result)) = ended else { continue };
                if let Ended::StoreFailed(error) = judge(run, result) {
                    return Err(error);
                }
            }
            offers = site.link.poll(None, cursor.clone(), hold_ms) => match offers {
                Ok(offers) => {
                    let (soon, before) = (asked.elapsed() < SOON, known.len());
                    if hold_ms == 0 || backoff.failures() > 0 {
                        tracing::info!("the coordinator answers");
                    }
                    hold_ms = u32::try_from(HOLD_MAX_MS).expect("below a minute");
                    cursor = offers.cursor;
                    for offer in offers.notices {
                        let Ok(Received::RunOffered { run_id, .. }) = received(offer, 0) else { continue };
                        let room = loops.len() < MAX_RUNS_AT_ONCE && known.len() < MAX_RUNS_TAKEN_UP;
                        if room && known.insert(run_id) {
                            let site = Arc::clone(&site);
                            loops.spawn(async move { (run_id, take_part(site, run_id).await) });
                        }
                    }
                    if soon && known.len() == before {
                        link::pause(&mut backoff).await; // nothing new, at once
                    } else {
                        backoff.reset();
                    }
                }
                Err(error) => {
                    if backoff.failures() == 0 {
                        tracing::warn!(%error, "the coordinator does not answer; trying again");
                    }
                    link::pause(&mut backoff).await;
                }
            }
        }
    }
    loops.shutdown().await;
    Ok(())
}

/// The runs that the journal has not forgotten.
fn remembered(site: &Site) -> Result<BTreeSet<RunId>, RunError> {
    let streams = site.journal().streams()?;
    let runs = streams.iter().filter_map(|stream| replay::run_of(stream));
    Ok(runs.filter_map(|run| run.parse().ok()).collect())
}

fn judge(run: RunId, result: Result<(), RunError>) -> Ended {
    match result {
        Ok(()) => Ended::ForGood,
        // The run was over once; that a coordinator offers it again is no fault of the store.
        Err(RunError::Journal(JournalError::Forgotten { .. })) => {
            tracing::info!(%run, "this run is over; it is not taken up again");
            Ended::ForGood
        }
        Err(error @ (RunError::Journal(_) | RunError::Marker(_))) => Ended::StoreFailed(error),
        Err(RunError::Refused {
            rejection: Rejection::Policy(refusal),
            ..
        }) => {
            tracing::error!(%run, code = refusal.code(), why = %refusal, "taking no part in the run");
            Ended::ForGood
        }
        Err(error) => {
            tracing::error!(%run, %error, "taking no part in the run");
            Ended::ForGood
        }
    }
}
