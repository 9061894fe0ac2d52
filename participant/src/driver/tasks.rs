//! What outputs ask for, each in a task of its own. One of each kind runs at a time; all may be done twice.
//!
//! A task asks until it is answered, since one refusal or one altered answer must not silence a site. What ends the asking is the end of
//! what it is for: an attempt, an epoch, a model. A task never outlives that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use veilsum_common::limits::HOLD_MAX_MS;
use veilsum_common::time::Timestamp;
use veilsum_common::{RunId, Span};
use veilsum_daemon::backoff::Backoff;
use veilsum_daemon::entropy;
use veilsum_engine::participant::session::SessionPhase;
use veilsum_engine::participant::{Contribution, Event, Step};
use veilsum_engine::rejection::Rejection;
use veilsum_engine::round::Decline;
use veilsum_proto::pb;
use veilsum_secagg::Digest;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Attestation, Neighbourhood, RosterConfirmation,
    SurvivorProposal, UnmaskList,
};

use super::sending::Sending;
use super::training::Training;
use super::{Driver, Input, RunError, Running, Sitting, Task};
use crate::link::{self, HandIn, LinkError};
use crate::site::Site;
use crate::update::PinnedUpdate;

/// Waits before something refused is asked for again: a blip is over in the first, and the last costs nobody anything.
const REFUSED: (Span, Span) = (Span::from_ms(250), Span::from_secs(30));
/// An empty answer to a poll within this time was not held.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Polls for one run until the loop is gone.
pub(super) async fn poll(site: Arc<Site>, run: RunId, inputs: tokio::sync::mpsc::Sender<Input>) {
    let mut backoff = Backoff::new(Span::from_ms(50), Span::from_secs(5));
    let mut cursor = Vec::new();
    let hold_ms = u32::try_from(HOLD_MAX_MS).expect("below a minute");
    loop {
        let asked = Instant::now();
        match site.link.poll(Some(run), cursor.clone(), hold_ms).await {
            Ok(news) if news.notices.is_empty() && asked.elapsed() < SOON => {
                cursor = news.cursor;
                link::pause(&mut backoff).await; // nothing, at once: no honest coordinator goes on like that
            }
            Ok(news) => {
                backoff.reset();
                cursor.clone_from(&news.cursor);
                if !news.notices.is_empty()
                    && inputs.send(Input::News(Box::new(news))).await.is_err()
                {
                    return;
                }
            }
            Err(error) => {
                if backoff.failures() == 0 {
                    tracing::warn!(%run, %error, "the coordinator does not answer; trying again");
                }
                link::pause(&mut backoff).await;
            }
        }
    }
}

impl Driver {
    /// Starts a task unless one of its kind is at it already; after what it brought last was refused, later each time.
    fn start(&mut self, task: Task, work: impl Future<Output = Option<Input>> + Send + 'static) {
        if self.busy.contains_key(&task) {
            return;
        }
        let doubt = self.doubts.get_mut(&task);
        let wait = doubt.map(|doubt| doubt.next_wait(u64::from_le_bytes(*entropy::bytes())));
        let (inputs, number) = (self.inputs.clone(), self.started);
        self.started += 1;
        let running = self.tasks.spawn(async move {
            if let Some(Span(wait_ms)) = wait {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            let input = work.await;
            drop(inputs.send(Input::Idle(task, number)).await);
            if let Some(input) = input {
                drop(inputs.send(input).await);
            }
        });
        self.busy.insert(task, Running { number, running });
    }

    /// What a task brought is refused: it is asked for again, but not at once.
    pub(super) fn doubt(&mut self, task: Task) {
        self.doubts.entry(task).or_insert_with(refused);
    }

    /// Ends the tasks of attempts, epochs and models that are over: nobody waits for what they would bring. `opened` says that a new
    /// attempt is open, which also ends what was still to be said about older ones.
    pub(super) fn prune(&mut self, opened: bool) {
        let machine = &self.machine;
        let open = machine.open_attempt().map(|attempt| attempt.hash());
        let (model, epoch) = (machine.ledger().model(), machine.epoch());
        let wanted = |task: &Task| match task {
            Task::Train(trained) => Some(*trained) == model,
            Task::Commit(hash)
            | Task::Upload(hash)
            | Task::Shares(hash)
            | Task::Accuse(hash)
            | Task::Judge(hash)
            | Task::SitOut(hash)
            | Task::Attest(hash)
            | Task::Unmask(hash) => Some(*hash) == open,
            Task::Refuse(_) | Task::Abort(_) => !opened,
            Task::Join(number)
            | Task::Roster(number)
            | Task::Confirm(number)
            | Task::Witness(number) => *number == epoch,
        };
        let run = self.run;
        self.busy.retain(|task, Running { running, .. }| {
            let keep = wanted(task);
            if !keep {
                running.abort();
                if let Task::Upload(_) = task {
                    tracing::warn!(%run, "the attempt is over before the upload is; this site is a dropout of the attempt");
                }
            }
            keep
        });
        self.doubts.retain(|task, _| wanted(task));
    }

    /// Hands a message in until it is durable there; `done` says what follows.
    fn hand_in(&mut self, task: Task, message: HandIn, done: Option<Input>) {
        let (link, run) = (self.site.link.clone(), self.run);
        self.start(task, async move {
            until_answered(run, "a message was refused", || {
                link.hand_in(message.clone())
            })
            .await;
            done
        });
    }

    fn run_id(&self) -> Vec<u8> {
        self.run.as_bytes().to_vec()
    }

    pub(super) fn join(&mut self, advertisement: Advertisement) {
        let epoch = advertisement.epoch;
        let request = pb::JoinEpochRequest {
            run_id: self.run_id(),
            advertisement: Some(advertisement.into()),
        };
        self.hand_in(Task::Join(epoch), HandIn::Join(Box::new(request)), None);
    }

    pub(super) fn confirm(&mut self, confirmation: RosterConfirmation) {
        let epoch = self.machine.epoch();
        let request = pb::ConfirmRosterRequest {
            run_id: self.run_id(),
            epoch,
            confirmation: Some(confirmation.into()),
        };
        self.hand_in(Task::Confirm(epoch), HandIn::Confirm(request), None);
    }

    /// P1 before the Commit leaves; then the Commit, the same bytes every time.
    pub(super) fn commit(&mut self, ann_hash: Digest) -> Result<(), RunError> {
        if !self.is_open(ann_hash) {
            return Ok(()); // it was asked for before the attempt was over
        }
        let training = self.machine.session() == Some(SessionPhase::Training);
        if training && !self.step(ann_hash, Step::Committed)? {
            return Ok(());
        }
        match self.machine.commit() {
            Ok(commit) => {
                let request = pb::CommitRoundRequest {
                    run_id: self.run_id(),
                    commit: Some(commit.into()),
                };
                let done = Some(Input::Answered(ann_hash));
                self.hand_in(
                    Task::Commit(ann_hash),
                    HandIn::Commit(Box::new(request)),
                    done,
                );
            }
            Err(rejection) => {
                tracing::warn!(run = %self.run, %rejection, "the Commit cannot be made again; sitting this attempt out");
                self.machine.drop_out();
            }
        }
        Ok(())
    }

    pub(super) fn attest(&mut self, ann_hash: Digest, attestation: Attestation) {
        let request = pb::AttestSurvivorsRequest {
            run_id: self.run_id(),
            ann_hash: ann_hash.0.to_vec(),
            attestation: Some(attestation.into()),
        };
        self.hand_in(
            Task::Attest(ann_hash),
            HandIn::Attest(Box::new(request)),
            None,
        );
    }

    pub(super) fn unmask(&mut self, ann_hash: Digest, list: UnmaskList) {
        let request = pb::UnmaskRequest {
            run_id: self.run_id(),
            ann_hash: ann_hash.0.to_vec(),
            list: Some(list.into()),
        };
        let done = Some(Input::Delivered(ann_hash));
        self.hand_in(
            Task::Unmask(ann_hash),
            HandIn::Unmask(Box::new(request)),
            done,
        );
    }

    pub(super) fn abort(&mut self, attestation: AbortAttestation) {
        let key = attestation.ann_hash;
        let request = pb::AttestAbortRequest {
            run_id: self.run_id(),
            attestation: Some(attestation.into()),
        };
        self.hand_in(Task::Abort(key), HandIn::Abort(request), None);
    }

    pub(super) fn decline(&mut self, ann_hash: Digest, why: Decline, done: Option<Input>) {
        let request = pb::DeclineRequest {
            run_id: self.run_id(),
            ann_hash: ann_hash.0.to_vec(),
            reason: pb::DeclineReason::from(why).into(),
        };
        let task = match done {
            Some(_) => Task::SitOut(ann_hash),
            None => Task::Refuse(ann_hash),
        };
        self.hand_in(task, HandIn::Decline(request), done);
    }

    pub(super) fn fetch_neighbourhood(&mut self, attempt: &Attempt) {
        let (link, run, ann_hash, n) = (
            self.site.link.clone(),
            self.run,
            attempt.hash(),
            attempt.roster().len(),
        );
        self.start(Task::Upload(ann_hash), async move {
            let ask = || link.neighbourhood(run, ann_hash, n);
            let near = until_answered(run, "neighbours' keys", ask).await;
            Some(Input::Near(ann_hash, near))
        });
    }

    pub(super) fn fetch_roster(&mut self, epoch: u64, members: u32) {
        let (link, run) = (self.site.link.clone(), self.run);
        self.start(Task::Roster(epoch), async move {
            let ask = || link.roster(run, epoch, members);
            let advertisements = until_answered(run, "roster", ask).await;
            Some(Input::Roster {
                epoch,
                members,
                advertisements,
            })
        });
    }

    pub(super) fn fetch_second_roster(&mut self, epoch: u64, members: u32) {
        let (link, run) = (self.site.link.clone(), self.run);
        self.start(Task::Witness(epoch), async move {
            let second = link.roster(run, epoch, members).await;
            let second = logged(run, "the second roster", second);
            second.map(|advertisements| Input::SecondRoster(epoch, advertisements))
        });
    }

    pub(super) fn fetch_shares(&mut self, attempt: &Attempt) {
        let (link, run, ann_hash, n) = (
            self.site.link.clone(),
            self.run,
            attempt.hash(),
            attempt.roster().len(),
        );
        self.start(Task::Shares(ann_hash), async move {
            let items = until_answered(run, "shares", || link.shares(run, ann_hash, n)).await;
            Some(Input::Shares(ann_hash, items))
        });
    }

    /// One after the other, each once: what is refused proves nothing about anybody.
    pub(super) fn fetch_commit_records(&mut self, attempt: &Attempt, dealers: Vec<u32>) {
        let (link, run, ann_hash) = (self.site.link.clone(), self.run, attempt.hash());
        self.start(Task::Accuse(ann_hash), async move {
            let mut records = Vec::new();
            for dealer in dealers {
                let commit = link.commit_record(run, ann_hash, dealer).await;
                let commit = logged(run, "what a dealer signed", commit);
                records.extend(commit.map(|commit| (dealer, commit)));
            }
            Some(Input::CommitRecords(ann_hash, records))
        });
    }

    pub(super) fn fetch_survivors(&mut self, attempt: &Attempt, proposal: SurvivorProposal) {
        let (link, run, ann_hash, n) = (
            self.site.link.clone(),
            self.run,
            attempt.hash(),
            attempt.roster().len(),
        );
        self.start(Task::Judge(ann_hash), async move {
            let ask = || link.survivors(run, ann_hash, n);
            let items = until_answered(run, "survivors", ask).await;
            Some(Input::Survivors(ann_hash, Box::new(proposal), items))
        });
    }

    /// Trains, or says at once that this site does not, so that nobody waits for it.
    pub(super) fn train(&mut self, attempt: &Arc<Attempt>) -> Result<(), RunError> {
        if self.retired {
            return self.sit_out(attempt.hash(), Decline::NotNow);
        }
        let announcement = attempt.announcement();
        let (model, ann_hash) = (announcement.model_hash, attempt.hash());
        let job = Training {
            site: Arc::clone(&self.site),
            spec: Arc::clone(self.machine.spec()),
            updates: Arc::clone(&self.updates),
            round: announcement.round,
            model,
            commit_by: Timestamp(announcement.commit_by_ms),
        };
        self.start(Task::Train(model), async move {
            let result = Box::new(job.run().await?);
            Some(Input::Trained {
                ann_hash,
                model,
                result,
            })
        });
        Ok(())
    }

    fn sit_out(&mut self, ann_hash: Digest, why: Decline) -> Result<(), RunError> {
        self.step(ann_hash, Step::SatOut(why)).map(drop)
    }

    pub(super) fn trained(
        &mut self,
        ann_hash: Digest,
        model_hash: Digest,
        result: Result<PinnedUpdate, Sitting>,
    ) -> Result<(), RunError> {
        let Some(attempt) = self.machine.attempt().cloned() else {
            return Ok(());
        };
        let announcement = attempt.announcement();
        match result {
            Ok(pinned) => {
                let contribution = Contribution {
                    round: announcement.round,
                    model_hash,
                    roundcfg_hash: announcement.roundcfg_hash,
                    update: pinned.blob,
                    weight: pinned.weight,
                    metadata: pinned.metadata,
                };
                self.submit(Event::Trained(Box::new(contribution)))
                    .map(drop)
            }
            Err(sitting) => {
                // A newer attempt for the same model is sat out as well: its trainer would say the same.
                let current = if announcement.model_hash == model_hash {
                    attempt.hash()
                } else {
                    ann_hash
                };
                self.retired |= sitting.retire;
                if self.is_open(current) {
                    self.sit_out(current, sitting.why)?;
                }
                Ok(())
            }
        }
    }

    /// All checks of section 9, then P2, then the masked bytes.
    pub(super) fn mask(&mut self, ann_hash: Digest, near: &Neighbourhood) -> Result<(), RunError> {
        let masking = match self.machine.masking(near) {
            Ok(masking) => masking,
            Err(Rejection::Protocol(error)) if error.culprits().is_some() => {
                tracing::error!(run = %self.run, %error, "nothing was masked and nothing sent; asking again");
                return self.ask_again(Task::Upload(ann_hash));
            }
            Err(rejection) => return self.not_masking(&rejection),
        };
        self.machine.mask_with(near);
        if self.machine.session() != Some(SessionPhase::Submitting)
            && !self.step(ann_hash, Step::Submitting)?
        {
            return Ok(());
        }
        let (Some(contribution), Some(rounding)) = (
            self.machine.contribution().cloned(),
            self.machine.rounding(),
        ) else {
            return Ok(());
        };
        let sending = Sending {
            site: Arc::clone(&self.site),
            spec: Arc::clone(self.machine.spec()),
            updates: Arc::clone(&self.updates),
            run: self.run,
            ann_hash,
            masking,
            contribution,
            rounding,
        };
        self.busy.remove(&Task::Upload(ann_hash));
        self.doubts.remove(&Task::Upload(ann_hash));
        self.start(Task::Upload(ann_hash), sending.run());
        Ok(())
    }

    fn not_masking(&mut self, rejection: &Rejection) -> Result<(), RunError> {
        tracing::error!(run = %self.run, %rejection, "nothing was masked and nothing sent; this site is a dropout of the attempt");
        self.machine.drop_out();
        Ok(())
    }
}

/// Asks until there is an answer: only the end of the task ends it.
async fn until_answered<T, F>(run: RunId, what: &'static str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, LinkError>>,
{
    let mut backoff = refused();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if backoff.failures() == 0 => {
                tracing::warn!(%run, what, %error, "the coordinator refused; asking again");
            }
            Err(error) => tracing::debug!(%run, what, %error, "refused again"),
        }
        link::pause(&mut backoff).await;
    }
}

/// The waits before something refused is asked for again.
pub(super) fn refused() -> Backoff {
    Backoff::new(REFUSED.0, REFUSED.1)
}

/// The answer, or a logged refusal.
pub(super) fn logged<T>(
    run: RunId,
    what: &'static str,
    answer: Result<T, impl std::fmt::Display>,
) -> Option<T> {
    answer
        .inspect_err(|error| tracing::warn!(%run, what, %error, "could not be fetched"))
        .ok()
}
