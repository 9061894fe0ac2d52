//! Live runs: for each, its machines, its coordinator key, who is online; and the hands that do what the machines ask for.
//!
//! Every output is safe to do twice: a stream that exists is replayed instead of opened, a blob that exists is not written again, an
//! event that a machine took before is refused as repeated.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use veilsum_common::blob::BlobRef;
use veilsum_common::ids::{RunId, SiteName};
use veilsum_common::run::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_daemon::clock;
use veilsum_engine::epoch::{self, Epoch};
use veilsum_engine::notice::{Notice, Position, notices};
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{self, Loss, Opening, Outcome, Round};
use veilsum_engine::run::{self, NextRound, Run};
use veilsum_engine::terms::Terms;
use veilsum_proto::convert::journal::{EpochOpened, Journalled, RoundOpened, RunCreated};
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::Identity;
use veilsum_secagg::message::Announcement;
use veilsum_secagg::params::{Params, round_config_hash};
use veilsum_secagg::{Bitmap, Digest};

use crate::driver::{self, Handle, Post};
use crate::faults::Proving;
use crate::feed::Presence;
use crate::metrics;
use crate::store::blobs::Blobs;
use crate::store::staging::Staging;
use crate::store::{Entry, Error as StoreError, Journal, StreamId};

mod jobs;

/// What all runs share.
pub struct Shared<J> {
    /// The journal.
    pub journal: J,
    /// What is kept: descriptions and models.
    pub blobs: Blobs,
    /// Staged uploads, apart from the rest, since a start sweeps away those that nothing names.
    pub uploads: Staging,
    /// What lies in it apart from journal and blobs: fault files.
    pub data_dir: PathBuf,
    /// Where each run's `metrics.jsonl` lies.
    pub runs_dir: PathBuf,
    /// Takes the reason when the process must exit.
    pub fatal: mpsc::Sender<StoreError>,
}

/// One run with its machines.
pub struct LiveRun<J> {
    shared: Arc<Shared<J>>,
    spec: Arc<RunSpec>,
    params: Arc<Params>,
    terms: Terms,
    /// What an operator submitted.
    pub created: RunCreated,
    /// When.
    pub created_at: Timestamp,
    coordinator: Identity,
    /// Who is there.
    pub presence: Presence,
    changed: watch::Sender<u64>,
    run: Mutex<Option<Handle<Run>>>,
    epoch: Mutex<Option<Handle<Epoch>>>,
    round: Mutex<Option<Handle<Round>>>,
}

impl<J: Journal> LiveRun<J> {
    /// Brings a run to life from entry 0 and what follows it.
    ///
    /// # Errors
    /// [`StoreError`] if its stream cannot be replayed.
    pub async fn start(
        shared: Arc<Shared<J>>,
        spec: RunSpec,
        created: RunCreated,
        coordinator: Identity,
    ) -> Result<Arc<Self>, StoreError> {
        let (params, rounds) = (Arc::new(spec.params().clone()), spec.study().rounds());
        let terms = Terms {
            params: Arc::clone(&params),
            rounds: rounds.count,
            target: rounds.cohort.target,
            join: rounds.join_timeout,
            report: rounds.report_timeout,
        };
        let stream = StreamId::run(spec.run_id());
        let mut created_at = Timestamp(0);
        let replayed = driver::replay(&shared.journal, stream, |entry| {
            created_at = entry.at;
            Some(Run::open(terms.clone(), created.model, entry.at))
        });
        let (machine, next) = replayed
            .await?
            .ok_or(StoreError::NotFound { stream, number: 0 })?;
        let live = Arc::new(Self {
            shared,
            spec: Arc::new(spec),
            params,
            terms,
            created,
            created_at,
            coordinator,
            presence: Presence::default(),
            changed: watch::channel(1).0,
            run: Mutex::new(None),
            epoch: Mutex::new(None),
            round: Mutex::new(None),
        });
        live.scrub_leftovers(&machine).await?;
        live.write_metrics(&machine);
        let (handle, waiting) = driver::prepare(machine);
        set(&live.run, handle);
        waiting.start(live.post(stream, next), Arc::clone(&live).run_hands());
        Ok(live)
    }

    /// The run's frozen parameters.
    pub fn spec(&self) -> &Arc<RunSpec> {
        &self.spec
    }

    /// The coordinator's key of this run.
    pub fn coordinator(&self) -> &Identity {
        &self.coordinator
    }

    /// The run's machine.
    pub fn run(&self) -> Handle<Run> {
        get(&self.run).expect("set before the run is shown to anybody")
    }

    /// The epoch's machine, if one is open.
    pub fn epoch(&self) -> Option<Handle<Epoch>> {
        get(&self.epoch)
    }

    /// The round's machine, if one was opened.
    pub fn round(&self) -> Option<Handle<Round>> {
        get(&self.round)
    }

    /// Grows with every change of any machine of the run.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What the run has to say after `after`.
    pub fn notices(&self, after: Position) -> Vec<(Position, Notice)> {
        let (run, epoch, round) = (self.run(), self.epoch(), self.round());
        let (epoch, round) = (
            epoch.as_ref().map(Handle::read),
            round.as_ref().map(Handle::read),
        );
        notices(&run.read(), epoch.as_deref(), round.as_deref(), after)
    }

    /// A model version of this run.
    pub fn model_by_digest(&self, digest: &Digest) -> Option<BlobRef> {
        let run = self.run();
        let run = run.read();
        let published = run
            .history()
            .iter()
            .rev()
            .map(|record| record.published.model);
        std::iter::once(run.model())
            .chain(published)
            .chain([self.created.model])
            .find(|model| model.digest == *digest)
    }

    fn post(&self, stream: StreamId, next: u64) -> Post<J> {
        Post {
            journal: self.shared.journal.clone(),
            stream,
            next,
            changed: self.changed.clone(),
            fatal: self.shared.fatal.clone(),
        }
    }

    fn id(&self) -> RunId {
        self.spec.run_id()
    }

    fn run_hands(self: Arc<Self>) -> impl FnMut(run::Output) + Send + 'static {
        move |output| {
            let live = Arc::clone(&self);
            tokio::spawn(async move {
                let done = match output {
                    run::Output::OpenEpoch { epoch } => live.open_epoch(epoch).await,
                    run::Output::OpenRound(next) => live.open_round(*next).await,
                    run::Output::Ended(state) => {
                        tracing::info!(run = %live.id(), ?state, "run ended");
                        Ok(())
                    }
                };
                if let Err(error) = done {
                    drop(live.shared.fatal.send(error).await);
                }
            });
        }
    }

    async fn open_epoch(self: &Arc<Self>, number: u64) -> Result<(), StoreError> {
        let stream = StreamId::epoch(self.id(), number);
        let open = |at| Epoch::open(self.terms.clone(), number, at);
        let (machine, next) =
            match driver::replay(&self.shared.journal, stream, |entry| Some(open(entry.at))).await?
            {
                Some(replayed) => replayed,
                None => {
                    let at = clock::now();
                    self.begin(stream, at, &EpochOpened { epoch: number })
                        .await?;
                    (open(at), 1)
                }
            };
        let live = Arc::clone(self);
        let hands = move |epoch::Output::End(outcome)| {
            let live = Arc::clone(&live);
            if let Err(reason) = &outcome {
                tracing::warn!(run = %live.id(), epoch = number, code = reason.code(), "{reason}");
            }
            let event = run::Event::EpochEnded {
                epoch: number,
                outcome,
            };
            tokio::spawn(async move { live.run().insist(event).await });
        };
        let (handle, waiting) = driver::prepare(machine);
        set(&self.epoch, handle);
        waiting.start(self.post(stream, next), hands);
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    async fn begin<E: Journalled>(
        &self,
        stream: StreamId,
        at: Timestamp,
        opening: &E,
    ) -> Result<(), StoreError> {
        let entry = Entry {
            at,
            kind: opening.kind().to_owned(),
            sender: None,
            payload: opening.encode(),
        };
        self.shared.journal.append(stream, 0, &[entry]).await
    }

    async fn open_round(self: &Arc<Self>, next: NextRound) -> Result<(), StoreError> {
        let stream = StreamId::round(self.id(), next.epoch, next.seq);
        if self.epoch().is_none() {
            self.open_epoch(next.epoch).await?; // after a restart the run asks for its round only
        }
        let Some(epoch) = self.epoch() else {
            return Ok(());
        };
        let Some(roster) = epoch.read().roster().cloned() else {
            return Ok(());
        };
        let sites = self.sites(&epoch.read(), roster.len());
        let revive = |opened: RoundOpened, at| {
            let attempt = Attempt::new(Arc::clone(&roster), opened.announcement).ok()?;
            let opening = Opening {
                round_config: opened.round_config,
                abort_certificates: opened.abort_certificates,
                excluded: opened.excluded,
            };
            Some(Round::open(
                self.terms.clone(),
                Arc::new(attempt),
                sites.clone(),
                opening,
                at,
            ))
        };
        let replayed = driver::replay(&self.shared.journal, stream, |entry| {
            revive(RoundOpened::decode(&entry.payload).ok()?, entry.at)
        });
        let (machine, number) = match replayed.await? {
            Some(replayed) => replayed,
            None => {
                let Some(holders) = self.holders(&sites, &next).await else {
                    return Ok(());
                };
                let at = clock::now();
                let opened = self.announce(&roster.ctx(), holders, &next, at);
                self.begin(stream, at, &opened).await?;
                let diverged = StoreError::Diverged { stream, number: 0 };
                (revive(opened, at).ok_or(diverged)?, 1)
            }
        };
        tracing::info!(run = %self.id(), round = next.round, seq = next.seq, "round open");
        let hands = Arc::clone(self).round_hands(next);
        let (handle, waiting) = driver::prepare(machine);
        set(&self.round, handle);
        waiting.start(self.post(stream, number), hands);
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Names of the roster's members, in its order.
    fn sites(&self, epoch: &Epoch, members: u32) -> Vec<SiteName> {
        (0..members)
            .filter_map(|index| epoch.site(index).cloned())
            .collect()
    }

    /// Waits until enough members are online, then lists them. Members whose dealing failed hold no shares. Nothing once the run asks for
    /// this attempt no longer, because an operator cancelled it.
    pub(crate) async fn holders(&self, sites: &[SiteName], next: &NextRound) -> Option<Bitmap> {
        let n = u32::try_from(sites.len()).expect("a roster has at most 128 members");
        let (mut told, mut polls, mut changes) = (false, self.presence.polls(), self.changes());
        loop {
            if self.run().read().current() != Some(next) {
                return None;
            }
            let online: BTreeSet<SiteName> = self.presence.online(clock::now());
            let able = |index: &u32| !next.excluded.contains(index);
            let there = (0..n).zip(sites).filter(|(_, site)| online.contains(*site));
            let holders = Bitmap::of(n, there.map(|(index, _)| index).filter(able));
            let (have, need) = (holders.count(), self.params.holders_floor(n));
            if have >= need && have >= self.params.threshold(have, n) {
                return Some(holders);
            }
            if !told {
                tracing::warn!(run = %self.id(), round = next.round, "{}", Abort::TooFewOnline { have, need });
                told = true;
            }
            tokio::select! {
                _ = polls.changed() => {}
                _ = changes.changed() => {}
            }
        }
    }

    fn announce(
        &self,
        epoch_ctx: &Digest,
        holders: Bitmap,
        next: &NextRound,
        at: Timestamp,
    ) -> RoundOpened {
        let round_config = self.spec.round_config_bytes(next.round);
        let [commit_by, submit_by, expires] = self.terms.deadlines(at);
        let threshold = self.params.threshold(holders.count(), holders.size());
        let announcement = Announcement {
            epoch_ctx: *epoch_ctx,
            round: next.round,
            seq: next.seq,
            retry_of: Digest::ZERO,
            model_hash: next.model.digest,
            prev_result_hash: next.prev_result,
            roundcfg_hash: round_config_hash(&round_config),
            holders,
            threshold,
            commit_by_ms: commit_by.0,
            submit_by_ms: submit_by.0,
            expires_ms: expires.0,
        };
        RoundOpened {
            announcement,
            round_config,
            abort_certificates: next.abort_certificates.clone(),
            excluded: next.excluded.clone(),
        }
    }

    fn round_hands(self: Arc<Self>, next: NextRound) -> impl FnMut(round::Output) + Send + 'static {
        move |output| {
            let (live, next) = (Arc::clone(&self), next.clone());
            tokio::spawn(async move {
                match output {
                    round::Output::Fold => live.fold(&next).await,
                    round::Output::Compute => live.compute(&next).await,
                    round::Output::Discard(_) => live.discard(&next).await,
                    round::Output::End(outcome) => live.end_round(&next, outcome).await,
                }
            });
        }
    }

    async fn discard(&self, next: &NextRound) {
        let uploads = self.shared.uploads.clone();
        let stream = StreamId::round(self.id(), next.epoch, next.seq);
        let removed = tokio::task::spawn_blocking(move || {
            if let Err(error) = uploads.discard(stream) {
                tracing::warn!(%error, "staged uploads could not be removed; the next start tries again");
            }
        });
        drop(removed.await);
    }

    async fn end_round(self: &Arc<Self>, next: &NextRound, outcome: Outcome) {
        match &outcome {
            Outcome::Published(published) => {
                tracing::info!(run = %self.id(), round = next.round, survivors = published.result.survivors, "round published");
            }
            Outcome::Spent(Loss {
                reason,
                missing,
                culprit,
            }) => {
                let (code, missing) = (reason.code(), names(missing));
                let culprit = culprit.as_ref().map(SiteName::as_str);
                tracing::error!(run = %self.id(), round = next.round, code, missing, culprit, "{reason}; the run is paused: sites may consent, then `veilsum run resume`");
            }
            Outcome::Aborted { reason, .. } | Outcome::Lost(reason) => {
                tracing::warn!(run = %self.id(), round = next.round, code = reason.code(), "{reason}");
            }
        }
        self.keep_faults(next).await;
        let event = run::Event::RoundEnded {
            round: next.round,
            seq: next.seq,
            outcome,
        };
        let run = self.run();
        if !run.insist(event).await {
            return; // what the round came to is in its stream only, which is read again at the next start
        }
        let line = run
            .read()
            .history()
            .last()
            .filter(|record| record.round == next.round)
            .cloned();
        if let Some(record) = line {
            metrics::append(&self.shared.runs_dir, &self.spec, &record);
        }
        self.scrub(StreamId::round(self.id(), next.epoch, next.seq))
            .await;
    }

    /// Writes down who lied in a release, before the messages that prove it are erased. A crash on the way repeats it.
    async fn keep_faults(&self, next: &NextRound) {
        let round = self.round();
        let proving = round.and_then(|round| {
            let round = round.read();
            let seq = round.attempt().announcement().seq;
            Some(&*round)
                .filter(|_| seq == next.seq)
                .and_then(Proving::of)
        });
        if let Some(proving) = proving {
            let (data_dir, run) = (self.shared.data_dir.clone(), self.id());
            let kept = tokio::task::spawn_blocking(move || proving.keep(&data_dir, run));
            drop(kept.await);
        }
    }

    /// Erases what a stream that is over still holds: shares, signatures, metadata. Its digests stay (CP9).
    async fn scrub(&self, stream: StreamId) {
        if let Err(error) = self.shared.journal.scrub(stream).await {
            tracing::warn!(%stream, %error, "could not be scrubbed; tried again at the next start");
        }
    }

    /// Scrubs the rounds and epochs of this run that a crash left behind after they were over.
    async fn scrub_leftovers(&self, run: &Run) -> Result<(), StoreError> {
        let current = run.current().map(|next| (next.epoch, next.seq));
        for stream in self.shared.journal.open().await? {
            let over = match stream {
                StreamId::Round {
                    run: id,
                    epoch,
                    seq,
                } => id == self.id() && Some((epoch, seq)) != current,
                StreamId::Epoch { run: id, epoch } => id == self.id() && epoch < run.epoch(),
                StreamId::Run(_) => false,
            };
            if over {
                self.scrub(stream).await;
            }
        }
        Ok(())
    }

    fn write_metrics(&self, run: &Run) {
        metrics::rewrite(&self.shared.runs_dir, &self.spec, run.history());
    }
}

fn names(sites: &[SiteName]) -> String {
    let names: Vec<&str> = sites.iter().map(SiteName::as_str).collect();
    names.join(", ")
}

fn get<M: veilsum_engine::machine::Machine>(slot: &Mutex<Option<Handle<M>>>) -> Option<Handle<M>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn set<M: veilsum_engine::machine::Machine>(slot: &Mutex<Option<Handle<M>>>, handle: Handle<M>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
}
