//! The coordinator: its machines, its key, its blobs, and the hands that do what the machines ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::run::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::keys::{Identity, Signature};
use veilsum_secagg::message::{
    Announcement, Commit, Receipt, ShareItem, SurvivorItem, UploadHeader, UploadTrailer,
};
use veilsum_secagg::params::{Params, round_config_hash};
use veilsum_secagg::participant::chunk_root;
use veilsum_secagg::{Bitmap, Digest, coordinator};

use super::START;
use super::job;
use super::{Appends, Stream, Summed};
use crate::epoch::{self, Epoch};
use crate::machine::Machine;
use crate::notice::{Notice, Position, notices};
use crate::rejection::{Abort, Rejection};
use crate::round::{self, Opening, Outcome, Round, Upload};
use crate::run::{self, NextRound, Run, State};
use crate::terms::Terms;

/// A finished attempt, as its journal kept it.
pub struct Past {
    pub outcome: Outcome,
    pub stream: Stream<Round>,
}

pub struct Hub {
    pub spec: Arc<RunSpec>,
    pub identity: Arc<Identity>,
    pub run: Stream<Run>,
    pub epoch: Option<Stream<Epoch>>,
    pub round: Option<(NextRound, Stream<Round>)>,
    pub past_epochs: Vec<Stream<Epoch>>,
    /// Attempts before the current one.
    pub past: Vec<Past>,
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    /// What every computed round summed up to.
    pub sums: Vec<Summed>,
    pub online: BTreeSet<SiteName>,
    /// Everything of a site that was refused.
    pub refused: Vec<Rejection>,
    waiting: Option<NextRound>,
    appends: Appends,
}

impl Hub {
    pub fn new(
        spec: Arc<RunSpec>,
        identity: Arc<Identity>,
        model: Vec<u8>,
        epoch_rounds: Option<u32>,
        appends: &Appends,
    ) -> Self {
        let (mut terms, first) = (terms(&spec), BlobRef::of(&model));
        if let Some(epoch_rounds) = epoch_rounds {
            terms.params = Arc::new(shorter_epochs(&terms.params, epoch_rounds));
        }
        let open = move || Run::open(terms.clone(), first, START);
        Self {
            spec,
            identity,
            run: Stream::new(open, appends),
            epoch: None,
            round: None,
            past_epochs: Vec::new(),
            past: Vec::new(),
            blobs: BTreeMap::from([(first.digest, model)]),
            sums: Vec::new(),
            online: BTreeSet::new(),
            refused: Vec::new(),
            waiting: None,
            appends: appends.clone(),
        }
    }

    pub fn run(&self) -> &Run {
        &self.run.machine
    }

    pub fn epoch(&self) -> &Epoch {
        &self.epoch.as_ref().expect("an epoch is open").machine
    }

    pub fn round(&self) -> &Round {
        &self.round.as_ref().expect("a round is open").1.machine
    }

    /// Whether nothing more happens by itself.
    pub fn over(&self) -> bool {
        self.run().state() != State::Running || self.run().paused().is_some()
    }

    /// What the run is paused for.
    pub fn lost(&self) -> Option<&Abort> {
        self.run().paused().map(|paused| &paused.loss.reason)
    }

    /// The operator goes on with a paused run.
    pub fn resume(&mut self, at: Timestamp) {
        let request_id = format!("request {}", self.past.len());
        let resumed = run::Event::Resumed { request_id };
        self.run.submit(at, resumed).unwrap();
        self.tick(at);
    }

    /// How the attempt before the current one ended, or the current one if it did.
    pub fn last_outcome(&self) -> &Outcome {
        let current = self
            .round
            .as_ref()
            .and_then(|(_, round)| round.machine.outcome());
        current.unwrap_or_else(|| &self.past.last().expect("an attempt has ended").outcome)
    }

    pub fn news(&self) -> Vec<(Position, Notice)> {
        let epoch = self.epoch.as_ref().map(|epoch| &epoch.machine);
        let round = self.round.as_ref().map(|(_, round)| &round.machine);
        notices(self.run(), epoch, round, Position::default())
    }

    /// When some machine wants to be asked again.
    pub fn deadline(&self) -> Option<Timestamp> {
        let epoch = self
            .epoch
            .as_ref()
            .and_then(|epoch| epoch.machine.deadline());
        let round = self
            .round
            .as_ref()
            .and_then(|(_, round)| round.machine.deadline());
        epoch.into_iter().chain(round).min()
    }

    /// Decides what is due and does what follows, until nothing does.
    pub fn tick(&mut self, at: Timestamp) {
        for _ in 0..1000 {
            if self.appends.hub_crashed() {
                self.reboot();
            }
            let before = self.appends.count();
            self.run.decide(at);
            let asked = self.run.outputs();
            let busy = !asked.is_empty();
            asked.into_iter().for_each(|output| self.do_run(at, output));
            self.tick_epoch(at);
            self.tick_round(at);
            if let Some(next) = self.waiting.take() {
                self.open_round(at, next);
            }
            if !busy && self.appends.count() == before && !self.appends.hub_has_crashed() {
                return;
            }
        }
        panic!("the coordinator never comes to rest");
    }

    /// One process: all its machines start again.
    fn reboot(&mut self) {
        self.run.reboot();
        self.epoch.iter_mut().for_each(Stream::reboot);
        self.round.iter_mut().for_each(|(_, round)| round.reboot());
    }

    fn tick_epoch(&mut self, at: Timestamp) {
        let Some(epoch) = &mut self.epoch else { return };
        epoch.decide(at);
        let number = epoch.machine.number();
        for epoch::Output::End(outcome) in epoch.outputs() {
            let ended = run::Event::EpochEnded {
                epoch: number,
                outcome,
            };
            drop(self.run.submit(at, ended)); // told twice after a crash
        }
    }

    fn tick_round(&mut self, at: Timestamp) {
        let Some((next, round)) = &mut self.round else {
            return;
        };
        round.decide(at);
        let (next, outputs) = (next.clone(), round.outputs());
        for output in outputs {
            match output {
                round::Output::Fold => unreachable!("rounds of the kit are small"),
                round::Output::Compute => self.compute(at, &next),
                round::Output::Discard(staged) => {
                    staged
                        .iter()
                        .for_each(|blob| drop(self.blobs.remove(&blob.digest)));
                }
                round::Output::End(outcome) => {
                    let (round, seq) = (next.round, next.seq);
                    let ended = run::Event::RoundEnded {
                        round,
                        seq,
                        outcome,
                    };
                    drop(self.run.submit(at, ended)); // told twice after a crash
                }
            }
        }
    }

    fn do_run(&mut self, at: Timestamp, output: run::Output) {
        match output {
            run::Output::OpenEpoch { epoch } => {
                let known = self.epoch.as_ref().map_or(0, |open| open.machine.number());
                if known < epoch {
                    let terms = terms(&self.spec);
                    let open = move || Epoch::open(terms.clone(), epoch, at);
                    self.past_epochs.extend(self.epoch.take());
                    self.epoch = Some(Stream::new(open, &self.appends));
                }
            }
            run::Output::OpenRound(next) => {
                let known = self.round.as_ref().map(|(next, _)| (next.epoch, next.seq));
                if known != Some((next.epoch, next.seq)) {
                    self.open_round(at, *next);
                }
            }
            run::Output::Ended(_) => {}
        }
    }

    /// Everybody who is online holds shares; with too few the round waits.
    fn open_round(&mut self, at: Timestamp, next: NextRound) {
        let epoch = self.epoch();
        let roster = Arc::clone(epoch.roster().expect("the epoch is certified"));
        let n = roster.len();
        let sites: Vec<SiteName> = (0..n).map(|i| epoch.site(i).unwrap().clone()).collect();
        let able =
            |i: &u32| self.online.contains(&sites[*i as usize]) && !next.excluded.contains(i);
        let holders = Bitmap::of(n, (0..n).filter(able));
        let params = self.spec.params();
        let (have, threshold) = (holders.count(), params.threshold(holders.count(), n));
        if have < params.holders_floor(n) || threshold > have {
            self.waiting = Some(next);
            return;
        }
        let terms = terms(&self.spec);
        let [commit_by, submit_by, expires] = terms.deadlines(at);
        let round_config = self.spec.round_config_bytes(next.round);
        let announcement = Announcement {
            epoch_ctx: roster.ctx(),
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
        let opening = Opening {
            round_config,
            abort_certificates: next.abort_certificates.clone(),
            excluded: next.excluded.clone(),
        };
        let attempt = Arc::new(Attempt::new(roster, announcement).unwrap());
        let open = move || {
            let (attempt, sites) = (Arc::clone(&attempt), sites.clone());
            Round::open(terms.clone(), attempt, sites, opening.clone(), at)
        };
        if let Some((_, round)) = self.round.take() {
            self.past.push(Past {
                outcome: round.machine.outcome().expect("it is over").clone(),
                stream: round,
            });
        }
        self.round = Some((next, Stream::new(open, &self.appends)));
    }

    fn compute(&mut self, at: Timestamp, next: &NextRound) {
        let model = self.blobs[&next.model.digest].clone();
        let event = match job::run(&self.spec, &model, self.round(), &self.blobs) {
            Ok((computed, sum, bytes)) => {
                self.blobs.insert(computed.next_model.digest, bytes);
                let survivors = &self.round().proposal().expect("they are fixed").survivors;
                let names = survivors
                    .iter()
                    .map(|i| self.round().site(i).unwrap().clone());
                self.sums.push(Summed {
                    model: next.model.digest,
                    survivors: names.collect(),
                    sum,
                });
                round::Event::JobDone(Box::new(computed))
            }
            Err(reason) => round::Event::Lost(reason),
        };
        let (_, round) = self.round.as_mut().expect("it computes");
        drop(round.submit(at, event)); // computed twice after a crash
    }

    /// A message of a site about an attempt: the edge looks up the round, and the sender's place in its roster.
    pub fn tell(
        &mut self,
        at: Timestamp,
        ann_hash: Digest,
        site: &SiteName,
        event: impl FnOnce(u32) -> round::Event,
    ) -> Result<(), Rejection> {
        let closed = Rejection::Elsewhere("attempt");
        let (_, round) = self.round.as_mut().ok_or(closed.clone())?;
        if round.machine.attempt().hash() != ann_hash {
            return Err(closed);
        }
        let index = round
            .machine
            .index_of(site)
            .ok_or(Rejection::NotAMember("roster"))?;
        let told = round.submit(at, event(index));
        self.refused.extend(told.clone().err());
        told
    }

    pub fn tell_epoch(&mut self, at: Timestamp, event: epoch::Event) -> Result<(), Rejection> {
        let closed = Rejection::Elsewhere("epoch");
        let told = self.epoch.as_mut().ok_or(closed)?.submit(at, event);
        self.refused.extend(told.clone().err());
        told
    }

    /// Index of a site in the current attempt.
    pub fn index(&self, site: &SiteName) -> u32 {
        self.round().index_of(site).expect("it is in the roster")
    }

    /// GetShares: of the attempt that is asked about, and of no other.
    pub fn share_items(
        &self,
        ann_hash: Digest,
        site: &SiteName,
    ) -> Result<Vec<ShareItem>, Rejection> {
        let round = self.round();
        if round.attempt().hash() != ann_hash {
            return Err(Rejection::Elsewhere("attempt"));
        }
        let index = self.index(site);
        Ok(coordinator::share_items(
            round.attempt(),
            round.commits(),
            index,
        )?)
    }

    /// GetCommitRecord: what a dealer signed, for a holder.
    pub fn commit_record(
        &self,
        ann_hash: Digest,
        site: &SiteName,
        dealer: u32,
    ) -> Result<Commit, Rejection> {
        let (round, index) = (self.round(), self.index(site));
        if round.attempt().hash() != ann_hash {
            return Err(Rejection::Elsewhere("attempt"));
        }
        round.commit_record(index, dealer).cloned()
    }

    /// SubmitMasked: checks header and trailer, stages the bytes, gives the signed receipt.
    pub fn receive(
        &mut self,
        at: Timestamp,
        from: &SiteName,
        header: &UploadHeader,
        bytes: &[u8],
        trailer: &UploadTrailer,
    ) -> Result<(Receipt, Signature), Rejection> {
        let (index, round) = (self.index(from), self.round());
        if let Some(known) = round.uploads().get(&index) {
            let ctx = round.cohort().expect("there are uploads").ctx();
            return Ok(self.receipt(ctx, known));
        }
        let cohort = round.expects_upload(index)?.clone();
        let (attempt, ctx) = (round.attempt(), cohort.ctx());
        coordinator::check_header(attempt, &cohort, index, header)?;
        let root = chunk_root(&[Digest::of_bulk(bytes)]).expect("one chunk");
        let upload_hash = coordinator::check_trailer(attempt, &cohort, index, &root, trailer)?;
        let blob = BlobRef::of(bytes);
        self.blobs.insert(blob.digest, bytes.to_vec());
        let item = SurvivorItem {
            index,
            upload_hash,
            signature: trailer.signature,
        };
        let upload = Upload {
            item,
            metadata: trailer.metadata.clone(),
            blob,
            checksum: Checksum::default(), // the plain sum of the kit's job keeps no books
            at,
        };
        let ann_hash = cohort.ann_hash;
        self.tell(at, ann_hash, from, |_| {
            round::Event::Uploaded(Box::new(upload.clone()))
        })?;
        Ok(self.receipt(ctx, &upload))
    }

    fn receipt(&self, ctx: Digest, upload: &Upload) -> (Receipt, Signature) {
        let receipt = Receipt {
            ctx,
            upload_hash: upload.item.upload_hash,
            time_ms: upload.at.0,
        };
        (receipt, receipt.sign(&self.identity))
    }
}

/// The same parameters with another life of an epoch, which only the run's machine looks at.
pub fn shorter_epochs(params: &Params, epoch_rounds: u32) -> Params {
    let mut config = params.config().clone();
    config.epoch_rounds = epoch_rounds;
    Params::new(config).unwrap()
}

/// The run's terms, as the edge derives them.
pub fn terms(spec: &RunSpec) -> Terms {
    let rounds = spec.study().rounds();
    Terms {
        params: Arc::new(spec.params().clone()),
        rounds: rounds.count,
        target: rounds.cohort.target,
        join: rounds.join_timeout,
        report: rounds.report_timeout,
    }
}
