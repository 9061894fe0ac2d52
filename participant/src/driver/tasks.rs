//! What outputs ask for, each in a task of its own. One of each kind runs at a time; all may be done twice.

use std::sync::Arc;

use veilsum_common::limits::HOLD_MAX_MS;
use veilsum_common::time::Timestamp;
use veilsum_common::{RunId, Span};
use veilsum_daemon::backoff::Backoff;
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
use super::{Driver, Input, RunError, Sitting, Task};
use crate::link::{self, HandIn, LinkError};
use crate::site::Site;
use crate::update::PinnedUpdate;

/// Polls for one run until the loop is gone.
pub(super) async fn poll(site: Arc<Site>, run: RunId, inputs: tokio::sync::mpsc::Sender<Input>) {
    let mut backoff = Backoff::new(Span::from_ms(50), Span::from_secs(5));
    let mut cursor = Vec::new();
    let hold_ms = u32::try_from(HOLD_MAX_MS).expect("below a minute");
    loop {
        match site.link.poll(Some(run), cursor.clone(), hold_ms).await {
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
    /// Starts a task unless one of its kind is at it already.
    pub(super) fn start(
        &mut self,
        task: Task,
        work: impl Future<Output = Option<Input>> + Send + 'static,
    ) {
        if !self.busy.insert(task) {
            return;
        }
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move {
            let input = work.await;
            drop(inputs.send(Input::Idle(task)).await);
            if let Some(input) = input {
                drop(inputs.send(input).await);
            }
        });
    }

    /// Hands a message in; a refusal for good is logged, and `done` says what follows success.
    fn hand_in(&mut self, task: Task, message: HandIn, done: Option<Input>) {
        let (link, run) = (self.site.link.clone(), self.run);
        self.start(task, async move {
            match link.hand_in(message).await {
                Ok(()) => done,
                Err(error) => {
                    tracing::warn!(%run, %error, "the coordinator refused");
                    None
                }
            }
        });
    }

    fn run_id(&self) -> Vec<u8> {
        self.run.as_bytes().to_vec()
    }

    pub(super) fn join(&mut self, advertisement: Advertisement) {
        let key = advertisement.nonce_commit;
        let request = pb::JoinEpochRequest {
            run_id: self.run_id(),
            advertisement: Some(advertisement.into()),
        };
        self.hand_in(
            Task::HandIn("join", key),
            HandIn::Join(Box::new(request)),
            None,
        );
    }

    pub(super) fn confirm(&mut self, confirmation: RosterConfirmation) {
        let key = confirmation.epoch_ctx;
        let request = pb::ConfirmRosterRequest {
            run_id: self.run_id(),
            epoch: self.machine.epoch(),
            confirmation: Some(confirmation.into()),
        };
        self.hand_in(Task::HandIn("confirm", key), HandIn::Confirm(request), None);
    }

    /// P1 before the Commit leaves; then the Commit, the same bytes every time.
    pub(super) fn commit(&mut self, ann_hash: Digest) -> Result<(), RunError> {
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
            Task::HandIn("attest", ann_hash),
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
            Task::HandIn("unmask", ann_hash),
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
        self.hand_in(Task::HandIn("abort", key), HandIn::Abort(request), None);
    }

    pub(super) fn decline(&mut self, ann_hash: Digest, why: Decline, done: Option<Input>) {
        let request = pb::DeclineRequest {
            run_id: self.run_id(),
            ann_hash: ann_hash.0.to_vec(),
            reason: pb::DeclineReason::from(why).into(),
        };
        self.hand_in(
            Task::HandIn("decline", ann_hash),
            HandIn::Decline(request),
            done,
        );
    }

    pub(super) fn fetch_neighbourhood(&mut self, attempt: &Attempt) {
        let (link, run, ann_hash, n) = (
            self.site.link.clone(),
            self.run,
            attempt.hash(),
            attempt.roster().len(),
        );
        self.start(Task::Upload(ann_hash), async move {
            let near = link.neighbourhood(run, ann_hash, n).await;
            logged(run, "neighbours' keys", near).map(|near| Input::Near(ann_hash, near))
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
            let items = link.shares(run, ann_hash, n).await;
            logged(run, "shares", items).map(|items| Input::Shares(ann_hash, items))
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
            let items = link.survivors(run, ann_hash, n).await;
            logged(run, "survivors", items)
                .map(|items| Input::Survivors(ann_hash, Box::new(proposal), items))
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
                self.sit_out(current, sitting.why)
            }
        }
    }

    /// All checks of section 9, then P2, then the masked bytes.
    pub(super) fn mask(&mut self, ann_hash: Digest, near: &Neighbourhood) -> Result<(), RunError> {
        if self
            .machine
            .attempt()
            .is_none_or(|attempt| attempt.hash() != ann_hash)
        {
            return Ok(());
        }
        let masking = match self.machine.masking(near) {
            Ok(masking) => masking,
            Err(rejection) => return self.not_masking(&rejection),
        };
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
        self.start(Task::Upload(ann_hash), sending.run());
        Ok(())
    }

    fn not_masking(&mut self, rejection: &Rejection) -> Result<(), RunError> {
        tracing::error!(run = %self.run, %rejection, "nothing was masked and nothing sent; this site is a dropout of the attempt");
        self.machine.drop_out();
        Ok(())
    }
}

/// The answer, or a logged refusal.
pub(super) fn logged<T>(run: RunId, what: &'static str, answer: Result<T, LinkError>) -> Option<T> {
    answer
        .inspect_err(|error| tracing::warn!(%run, what, %error, "could not be fetched"))
        .ok()
}
