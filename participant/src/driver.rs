//! The loop of one run at this site: admit → append and fsync → handle → outputs, with one writer.
//!
//! Everything slow (calls, training, masking) runs in tasks of its own and comes back as an `Input`. What a task was asked to do is
//! asked again after a restart, so losing one loses nothing.

mod evidence;
mod notices;
mod sending;
mod tasks;
mod training;

pub(crate) use tasks::SOON;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use veilsum_common::time::Timestamp;
use veilsum_common::{RunId, RunSpec};
use veilsum_daemon::backoff::Backoff;
use veilsum_daemon::{clock, entropy};
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{self, Event, Output, Participant, Step, UploadParts};
use veilsum_engine::rejection::Rejection;
use veilsum_engine::round::Decline;
use veilsum_engine::statements::Statements;
use veilsum_engine::vault::{Place, SecretOp, Vault};
use veilsum_proto::convert::Signed;
use veilsum_proto::convert::journal::{Journalled as _, SiteAccepted};
use veilsum_proto::pb;
use veilsum_secagg::keys::{Seed, Signature};
use veilsum_secagg::message::{
    Advertisement, Commit, Neighbourhood, ShareItem, SurvivorItem, SurvivorProposal,
};
use veilsum_secagg::{Certificate, Digest};

use crate::faults::Faults;
use crate::journal::marker::{MarkerError, MarkerFile, Promise};
use crate::journal::{Entry, Error as JournalError, Journal};
use crate::leftovers::LeftoverError;
use crate::link::LinkError;
use crate::replay::{self, Replay, Replayed};
use crate::site::Site;
use crate::update::{PinnedUpdate, UpdateError, Updates};

/// Inputs waiting for the loop; tasks wait their turn beyond it.
const INBOX: usize = 64;
/// Longest sleep before time is looked at again.
const NAP: Duration = Duration::from_secs(60);

/// What comes back from the world.
pub(crate) enum Input {
    /// The answer to a Poll.
    News(Box<pb::PollResponse>),
    /// A trainer is done.
    Trained {
        ann_hash: Digest,
        model: Digest,
        result: Box<Result<PinnedUpdate, Sitting>>,
    },
    /// The Commit, or the word that this site sits out, is durable.
    Answered(Digest),
    /// What is needed to mask.
    Near(Digest, Neighbourhood),
    /// The upload with this hash and these parts is durable, says this receipt.
    Received(Digest, (Digest, UploadParts), Box<pb::UploadReceipt>),
    /// The shares of a cohort.
    Shares(Digest, Vec<ShareItem>),
    /// What dealers signed whose shares cannot be used.
    CommitRecords(Digest, Vec<(u32, Commit)>),
    /// The survivors' signatures.
    Survivors(Digest, Box<SurvivorProposal>, Vec<SurvivorItem>),
    /// The unmask list is durable.
    Delivered(Digest),
    /// The members of an epoch, so many as were said to be, in the order in which they came.
    Roster {
        epoch: u64,
        members: u32,
        advertisements: Vec<Advertisement>,
    },
    /// The members of a second roster of an epoch, which proves a lie.
    SecondRoster(u64, Vec<Advertisement>),
    /// The task with this number is over, with or without a result.
    Idle(Task, u64),
    /// A call was refused for good, or a file is gone: this site is a dropout of the attempt.
    DropOut(Digest),
}

impl Input {
    /// The attempt that it is an answer for, and of no use without. What was trained is for a model, and outlives the attempt.
    fn attempt(&self) -> Option<Digest> {
        match self {
            Self::Answered(ann_hash)
            | Self::Near(ann_hash, _)
            | Self::Received(ann_hash, ..)
            | Self::Shares(ann_hash, _)
            | Self::CommitRecords(ann_hash, _)
            | Self::Survivors(ann_hash, ..)
            | Self::Delivered(ann_hash)
            | Self::DropOut(ann_hash) => Some(*ann_hash),
            Self::News(_)
            | Self::Trained { .. }
            | Self::Roster { .. }
            | Self::SecondRoster(..)
            | Self::Idle(..) => None,
        }
    }
}

/// Why a site sits an attempt out, and whether it will sit out all that follow.
pub(crate) struct Sitting {
    pub why: Decline,
    pub retire: bool,
}

/// What a task works on; one of each at a time. It ends with its epoch, its model or its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    Join(u64),
    Roster(u64),
    Confirm(u64),
    Train(Digest),
    Commit(Digest),
    Upload(Digest),
    Shares(Digest),
    Accuse(Digest),
    Judge(Digest),
    SitOut(Digest),
    Attest(Digest),
    Unmask(Digest),
    /// The word on an attempt that was not taken up, and the signature on one that is over: both end with the next attempt.
    Refuse(Digest),
    Abort(Digest),
    /// A second roster of this epoch; it ends with the epoch.
    Witness(u64),
}

/// A task under way.
struct Running {
    /// Tells it from an earlier one of its kind.
    number: u64,
    running: AbortHandle,
}

/// Why a run ended at this site.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal failed: nothing may be sent any more.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The rollback marker cannot be read or written.
    #[error(transparent)]
    Marker(#[from] MarkerError),
    /// The store was rolled back.
    #[error(
        "the rollback marker of run {run} is ahead of the journal: the data directory was restored from an older copy. This site takes no \
         part in the run any more, since it cannot know what it has revealed; enrol it anew"
    )]
    RolledBack {
        /// The run.
        run: RunId,
    },
    /// The journal does not replay.
    #[error(
        "entry {number} of run {run} does not replay; restore the data directory or enrol the site anew"
    )]
    Replay {
        /// The run.
        run: RunId,
        /// The entry.
        number: usize,
    },
    /// What the coordinator says of the run cannot be used.
    #[error("run {run}: {why}")]
    Offer {
        /// The run.
        run: RunId,
        /// Why.
        why: String,
    },
    /// The site's rules refuse the run.
    #[error("run {run}: {rejection}")]
    Refused {
        /// The run.
        run: RunId,
        /// The rule.
        rejection: Rejection,
    },
    /// A call was refused.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The directory of updates.
    #[error(transparent)]
    Updates(#[from] UpdateError),
    /// The run is over and its files stay, so that it is not forgotten yet.
    #[error(transparent)]
    Leftover(#[from] LeftoverError),
}

/// The loop of one run.
pub(crate) struct Driver {
    site: Arc<Site>,
    run: RunId,
    stream: String,
    machine: Participant,
    next: u64,
    marker: MarkerFile,
    /// What others signed, to hold them to it.
    statements: Statements,
    /// Where proofs of their lies are kept.
    faults: Faults,
    updates: Arc<Updates>,
    inputs: mpsc::Sender<Input>,
    busy: BTreeMap<Task, Running>,
    /// What was refused, and when it is asked for again.
    doubts: BTreeMap<Task, Backoff>,
    /// How many tasks were started.
    started: u64,
    tasks: JoinSet<()>,
    /// What the coordinator said and what waits for a roster that is being fetched.
    held: VecDeque<pb::Notice>,
    /// The epoch whose roster is being fetched.
    fetching: Option<u64>,
    certificate: Option<Certificate>,
    /// The trainer wants no more of this run. The site goes on as a holder, since others count on the shares it keeps; a restarted daemon
    /// asks its trainer once more.
    retired: bool,
    /// The run is over.
    over: bool,
}

/// Takes part in `run` until it is over or the daemon stops.
///
/// # Errors
/// [`RunError`]; the journal is as it was after the last durable event.
pub async fn take_part(site: Arc<Site>, run: RunId) -> Result<(), RunError> {
    let (inputs, inbox) = mpsc::channel(INBOX);
    let mut driver = Driver::open(site, run, inputs).await?;
    driver.machine.resume();
    driver.work(inbox).await
}

impl Driver {
    /// Replays what this site did in the run, or takes the run up.
    async fn open(
        site: Arc<Site>,
        run: RunId,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self, RunError> {
        let stream = replay::stream(run);
        let bringing_back = Replay {
            run,
            identity: &site.identity,
            policy: &site.policy,
            marker_dir: &site.marker_dir,
        };
        let known = bringing_back.read(&site.journal());
        if let Err(RunError::RolledBack { .. }) = known {
            discard_secrets(&mut site.journal(), &stream)?;
        }
        let known = known?;
        let Replayed {
            machine,
            marker,
            next,
        } = match known {
            Some(replayed) => replayed,
            None => {
                let accepted = accept(&site, run, &stream).await?;
                bringing_back.replay(&accepted, &[], Vault::default())?
            }
        };
        let updates = Arc::new(Updates::open(&site.data_dir, &run)?);
        let faults = Faults::of(&site.data_dir, run);
        let statements = evidence::heard(&site, run, machine.spec())?;
        // What a reader of fault files of this run compares with.
        let (run_hash, key) = (machine.spec().params().run_hash(), machine.coordinator());
        let coordinator_key = Digest(*key.as_bytes());
        let prg = machine.spec().params().prg().name();
        tracing::info!(%run, entries = next, %run_hash, %coordinator_key, prg, "taking part");
        Ok(Self {
            site,
            run,
            stream,
            machine,
            next,
            marker,
            statements,
            faults,
            updates,
            inputs,
            busy: BTreeMap::new(),
            doubts: BTreeMap::new(),
            started: 0,
            tasks: JoinSet::new(),
            held: VecDeque::new(),
            fetching: None,
            certificate: None,
            retired: false,
            over: false,
        })
    }

    async fn work(&mut self, mut inbox: mpsc::Receiver<Input>) -> Result<(), RunError> {
        let poller = tokio::spawn(tasks::poll(
            Arc::clone(&self.site),
            self.run,
            self.inputs.clone(),
        ));
        let result = self.turn(&mut inbox).await;
        poller.abort();
        result
    }

    async fn turn(&mut self, inbox: &mut mpsc::Receiver<Input>) -> Result<(), RunError> {
        let site = Arc::clone(&self.site);
        while !self.over {
            if let Some(event) = self.machine.due(clock::now()) {
                self.submit(event)?;
            }
            while let Some(output) = self.machine.poll_output() {
                self.perform(output)?;
            }
            let nap = nap_until(self.machine.deadline());
            tokio::select! {
                Some(input) = inbox.recv() => self.take(input).await?,
                Some(_) = self.tasks.join_next() => {} // its input is in the inbox
                () = tokio::time::sleep(nap) => {}
                () = site.shutdown.triggered() => return Ok(()),
            }
        }
        Ok(())
    }

    /// Admits an event, makes it durable together with its secrets, raises the marker where a promise is about to leave, and handles
    /// it. A rejection is logged and changes nothing.
    ///
    /// # Errors
    /// [`RunError`] when the journal or the marker failed: nothing may leave then.
    pub(crate) fn submit(&mut self, event: Event) -> Result<bool, RunError> {
        Ok(self.try_submit(event)?.is_ok())
    }

    /// As [`Self::submit`], and says why not.
    fn try_submit(&mut self, event: Event) -> Result<Result<(), Rejection>, RunError> {
        let at = clock::now();
        self.witness(&event);
        let fresh = Seed::filled(entropy::fill);
        let admitted = self
            .machine
            .admit(at, &event)
            .and_then(|()| self.machine.secrets(&event, &fresh));
        let ops = match admitted {
            Ok(ops) => ops,
            Err(rejection) => {
                self.refused(event.kind(), &rejection);
                return Ok(Err(rejection));
            }
        };
        let entry = Entry {
            at,
            kind: event.kind().to_owned(),
            payload: event.encode(),
        };
        self.site
            .journal()
            .append(&self.stream, self.next, &[entry], &ops)?;
        tracing::debug!(run = %self.run, number = self.next, kind = event.kind(), "journalled");
        self.next += 1;
        let promise = self.promise(&event);
        let opened = matches!(event, Event::Opened { .. });
        self.machine.apply(ops);
        if let Err(rejection) = self.machine.handle(at, event) {
            tracing::error!(run = %self.run, %rejection, "an admitted event was refused");
        }
        if let Some((promise, place)) = promise {
            self.marker.raise(promise, place)?;
        }
        self.prune(opened);
        Ok(Ok(()))
    }

    /// Which promise leaves after this event, and for which attempt: masked bytes, a signature on a set, shares, or an abort. Steps are
    /// of the attempt the site is in; an abort is of the attempt it names, which may be any.
    fn promise(&self, event: &Event) -> Option<(Promise, Place)> {
        let promise = match event {
            Event::Attempt { step, .. } => match **step {
                Step::Submitting => Promise::Masked,
                Step::Attested(_) => Promise::Attested,
                Step::Released(_) => Promise::Released,
                _ => return None,
            },
            Event::AbortProposed { announcement, .. } => {
                return Some((Promise::Aborted, (self.machine.epoch(), announcement.seq)));
            }
            _ => return None,
        };
        let attempt = self.machine.attempt()?;
        let place = (attempt.roster().epoch(), attempt.announcement().seq);
        Some((promise, place))
    }

    fn refused(&self, kind: &str, rejection: &Rejection) {
        if *rejection == Rejection::Repeated {
            tracing::trace!(run = %self.run, kind, "known already");
        } else if participant::accuses_coordinator(rejection) {
            tracing::error!(run = %self.run, kind, %rejection, "the coordinator sent what no honest coordinator sends");
        } else if let Rejection::Policy(refusal) = rejection {
            tracing::error!(run = %self.run, kind, code = refusal.code(), why = %refusal, "this site's policy refuses");
        } else {
            tracing::warn!(run = %self.run, kind, %rejection, "refused");
        }
    }

    /// A step of the attempt the site is in.
    pub(crate) fn step(&mut self, ann_hash: Digest, step: Step) -> Result<bool, RunError> {
        self.submit(Event::Attempt {
            ann_hash,
            step: Box::new(step),
        })
    }

    fn perform(&mut self, output: Output) -> Result<(), RunError> {
        match output {
            Output::Join(advertisement) => self.join(*advertisement),
            Output::Confirm(confirmation) => self.confirm(confirmation),
            Output::Train(attempt) => return self.train(&attempt),
            Output::Commit(attempt) => return self.commit(attempt.hash()),
            Output::Upload(attempt) => self.fetch_neighbourhood(&attempt),
            Output::OpenShares(attempt) => self.fetch_shares(&attempt),
            Output::Accuse(attempt, dealers) => self.fetch_commit_records(&attempt, dealers),
            Output::Judge(attempt, proposal) => self.fetch_survivors(&attempt, proposal),
            Output::Decline(ann_hash, why) => {
                self.decline(ann_hash, why, Some(Input::Answered(ann_hash)));
            }
            Output::Attest(ann_hash, attestation) => self.attest(ann_hash, *attestation),
            Output::Unmask(ann_hash, list) => self.unmask(ann_hash, *list),
            Output::Abort(attestation) => self.abort(attestation),
            Output::Forget(update) => {
                if let Err(error) = self.updates.erase(&update) {
                    tracing::warn!(run = %self.run, %error, "an update that is not needed any more could not be erased");
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, input: Input) -> Result<(), RunError> {
        if input.attempt().is_some_and(|of| !self.is_open(of)) {
            tracing::debug!(run = %self.run, "an answer came when its attempt was over");
            return Ok(());
        }
        match input {
            Input::News(news) => self.hear(*news).await,
            Input::Trained {
                ann_hash,
                model,
                result,
            } => self.trained(ann_hash, model, *result),
            Input::Answered(ann_hash) => self.step(ann_hash, Step::Answered).map(drop),
            Input::Near(ann_hash, near) => self.mask(ann_hash, &near),
            Input::Received(ann_hash, sent, receipt) => self.received(ann_hash, sent, *receipt),
            Input::Shares(ann_hash, items) => {
                if let Err(rejection) = self.machine.open_shares(ann_hash, &items) {
                    tracing::error!(run = %self.run, %rejection, "shares refused; asking again");
                    return self.ask_again(Task::Shares(ann_hash));
                }
                Ok(())
            }
            Input::CommitRecords(ann_hash, records) => {
                self.accuse(ann_hash, &records);
                Ok(())
            }
            Input::Survivors(ann_hash, proposal, items) => self.judge(ann_hash, &proposal, &items),
            Input::Delivered(ann_hash) => self.step(ann_hash, Step::Delivered).map(drop),
            Input::DropOut(_) => {
                self.machine.drop_out();
                Ok(())
            }
            Input::Roster {
                epoch,
                members,
                advertisements,
            } => self.enrol(epoch, members, advertisements).await,
            Input::SecondRoster(epoch, advertisements) => {
                self.second_roster(epoch, &advertisements);
                Ok(())
            }
            Input::Idle(task, number) => {
                if self
                    .busy
                    .get(&task)
                    .is_some_and(|running| running.number == number)
                {
                    self.busy.remove(&task);
                }
                Ok(())
            }
        }
    }

    /// Whether the site is in this attempt, and it is not over.
    pub(crate) fn is_open(&self, ann_hash: Digest) -> bool {
        let open = self.machine.open_attempt();
        open.is_some_and(|attempt| attempt.hash() == ann_hash)
    }

    /// Fetches once more, after a pause, what came and was refused: the coordinator altered it, or passed on what a member made up. Only
    /// for the attempt the site is in, and not once that is over.
    pub(crate) fn ask_again(&mut self, task: Task) -> Result<(), RunError> {
        self.doubt(task);
        self.prune(false);
        let attempt = self.machine.attempt().cloned();
        let (Some(attempt), true) = (attempt, self.doubts.contains_key(&task)) else {
            return Ok(());
        };
        match task {
            Task::Upload(_) => self.fetch_neighbourhood(&attempt),
            Task::Shares(_) => self.fetch_shares(&attempt),
            _ => {}
        }
        Ok(())
    }

    fn judge(
        &mut self,
        ann_hash: Digest,
        proposal: &SurvivorProposal,
        items: &[SurvivorItem],
    ) -> Result<(), RunError> {
        match self.machine.judge(proposal, items) {
            Ok(verdict) => {
                self.step(ann_hash, Step::Attested(verdict))?;
                match self.certificate.take() {
                    Some(certificate) => self.released(certificate),
                    None => Ok(()),
                }
            }
            Err(rejection) => {
                tracing::error!(run = %self.run, %rejection, "survivor proposal refused; nothing was signed");
                let attempt = self.machine.attempt().cloned();
                if let (Some(attempt), Rejection::Protocol(_)) = (attempt, rejection) {
                    self.doubt(Task::Judge(ann_hash));
                    self.prune(false);
                    if self.doubts.contains_key(&Task::Judge(ann_hash)) {
                        self.fetch_survivors(&attempt, proposal.clone());
                    }
                }
                Ok(())
            }
        }
    }

    fn received(
        &mut self,
        ann_hash: Digest,
        (sent, parts): (Digest, UploadParts),
        receipt: pb::UploadReceipt,
    ) -> Result<(), RunError> {
        let Signed { value, signature } = match Signed::try_from(receipt) {
            Ok(signed) => signed,
            Err(error) => {
                tracing::error!(run = %self.run, %error, "the receipt cannot be read");
                return Ok(());
            }
        };
        let received = self
            .machine
            .receive(ann_hash, value, signature, &sent, Some(parts));
        match received {
            Ok(event) => self.submit(event).map(drop),
            Err(rejection) => {
                self.refused("received", &rejection);
                Ok(())
            }
        }
    }

    /// Takes a survivor certificate in; one that comes before the own attestation waits for it.
    pub(crate) fn released(&mut self, certificate: Certificate) -> Result<(), RunError> {
        let Some(ann_hash) = self.machine.attempt().map(|attempt| attempt.hash()) else {
            return Ok(());
        };
        let duty = self.machine.duty();
        if duty == veilsum_engine::ledger::Duty::Idle {
            self.certificate = Some(certificate);
            return Ok(());
        }
        self.step(ann_hash, Step::Released(certificate)).map(drop)
    }
}

fn nap_until(deadline: Option<Timestamp>) -> Duration {
    let now = clock::now();
    deadline.map_or(NAP, |at| {
        Duration::from_millis(at.0.saturating_sub(now.0)).min(NAP)
    })
}

fn offer(run: RunId, why: impl std::fmt::Display) -> RunError {
    RunError::Offer {
        run,
        why: why.to_string(),
    }
}

/// A restored store has secrets that were erased, and some that were used since: none of them may be kept or used again.
fn discard_secrets(journal: &mut Journal, stream: &str) -> Result<(), JournalError> {
    let next = journal.read(stream)?.len() as u64;
    let names = journal.vault(stream)?.into_keys();
    let erased: Vec<SecretOp> = names.map(|name| SecretOp::Erase { name }).collect();
    journal.append(stream, next, &[], &erased)
}

/// Fetches a run, checks the coordinator's signature and the site's rules, and writes entry 0.
async fn accept(site: &Site, run: RunId, stream: &str) -> Result<SiteAccepted, RunError> {
    let answer = site.link.fetch_run(run).await?;
    let spec = RunSpec::from_bytes(&answer.run_spec).map_err(|error| offer(run, error))?;
    if spec.run_id() != run {
        return Err(offer(run, "the coordinator describes another run"));
    }
    let signature = answer.sig.as_slice().try_into().map(Signature);
    let signature =
        signature.map_err(|_| offer(run, "the coordinator's signature has not 64 bytes"))?;
    if !spec.params().verify(&signature) {
        return Err(offer(
            run,
            "the coordinator's signature on the run does not verify",
        ));
    }
    site.policy
        .accepts_run(&spec)
        .map_err(|refusal| RunError::Refused {
            run,
            rejection: refusal.into(),
        })?;
    let accepted = SiteAccepted {
        run_spec: answer.run_spec,
        signature,
    };
    let entry = Entry {
        at: clock::now(),
        kind: accepted.kind().to_owned(),
        payload: accepted.encode(),
    };
    site.journal().append(stream, 0, &[entry], &[])?;
    Ok(accepted)
}

#[cfg(test)]
mod tests;
