//! One site: its machine, what its store keeps, and the hands that do what the machine asks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::run::RunSpec;
use veilsum_common::time::Timestamp;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::evidence::Evidence;
use veilsum_secagg::keys::{BindingClaim, Identity, Seed};
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Attestation, Commit, SurvivorItem, SurvivorProposal,
    UnmaskList,
};
use veilsum_secagg::participant::{AwaitingRoster, Binding};
use veilsum_secagg::prg::Keystream;
use veilsum_secagg::{Digest, coordinator};
use zeroize::Zeroizing;

use super::dealer::missealed;
use super::stream::Fate;
use super::{Appends, Federation, Hub, Witness, drain, seed};
use crate::machine::Machine;
use crate::notice::{Notice, Position};
use crate::participant::session::SessionPhase;
use crate::participant::{Contribution, Event, Output, Participant, Setting, Step, UploadParts};
use crate::policy::Policy;
use crate::rejection::Rejection;
use crate::round::{self, Decline};
use crate::vault::{SecretOp, Vault};
use crate::{epoch, run};

/// Which hand an output asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Join,
    Confirm,
    Train,
    Decline,
    Commit,
    Upload,
    OpenShares,
    Accuse,
    Judge,
    Attest,
    Unmask,
    Abort,
    Forget,
}

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Join,
        Self::Confirm,
        Self::Train,
        Self::Decline,
        Self::Commit,
        Self::Upload,
        Self::OpenShares,
        Self::Accuse,
        Self::Judge,
        Self::Attest,
        Self::Unmask,
        Self::Abort,
        Self::Forget,
    ];

    pub fn of(output: &Output) -> Self {
        match output {
            Output::Join(_) => Self::Join,
            Output::Confirm(_) => Self::Confirm,
            Output::Train(_) => Self::Train,
            Output::Decline(..) => Self::Decline,
            Output::Commit(_) => Self::Commit,
            Output::Upload(_) => Self::Upload,
            Output::OpenShares(_) => Self::OpenShares,
            Output::Accuse(..) => Self::Accuse,
            Output::Judge(..) => Self::Judge,
            Output::Attest(..) => Self::Attest,
            Output::Unmask(..) => Self::Unmask,
            Output::Abort(_) => Self::Abort,
            Output::Forget(_) => Self::Forget,
        }
    }
}

/// What a site's trainer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trainer {
    Trains,
    Declines(Decline),
}

/// What a site adds to the sum, in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contributed {
    pub elements: Vec<i64>,
    pub lanes: Vec<u64>,
}

pub struct Site {
    pub index: u32,
    pub name: SiteName,
    pub identity: Arc<Identity>,
    pub policy: Policy,
    pub machine: Participant,
    /// What the store keeps beside the journal.
    pub stored: BTreeMap<String, Zeroizing<Vec<u8>>>,
    pub journal: Vec<(Timestamp, Event)>,
    /// Most changes of the store that one entry needed.
    pub most_ops: usize,
    pub pending: VecDeque<Output>,
    /// Everything that was ever asked of the world.
    pub asked: Vec<String>,
    /// Update files, by the name of their bytes.
    pub files: BTreeMap<Digest, Vec<f32>>,
    pub online: bool,
    /// Kinds of request that never get through.
    pub silent: BTreeSet<Kind>,
    pub trainer: Trainer,
    /// Whether receipts are on their way for ever, and the one that is.
    pub slow_receipt: bool,
    pub held: Option<Step>,
    /// How often the trainer ran.
    pub trained: u32,
    /// Everything that was refused, but for repetitions.
    pub refused: Vec<Rejection>,
    /// Proofs of what others did.
    pub kept: Vec<Evidence>,
    /// A holder that it deals a share to that is not the committed one.
    pub cheats: Option<u32>,
    /// Draws are fresh from one number to the next.
    pub draws: u64,
    /// Whether every draw is a new one; else equal events get equal draws, so that traces can be compared.
    pub fresh_draws: bool,
    /// A secret that is lost in a crash after this many entries, if it is there then.
    pub loses: Option<(usize, &'static str)>,
    /// Whether its process crashed since somebody looked.
    pub crashed: bool,
    spec: Arc<RunSpec>,
    /// What it added to the sum of each model, in clear.
    pub contributed: BTreeMap<Digest, Contributed>,
    appends: Appends,
}

impl Site {
    pub fn new(
        index: u32,
        identity: Arc<Identity>,
        spec: &Arc<RunSpec>,
        policy: &Policy,
        appends: &Appends,
    ) -> Self {
        let name = format!("site-{index}").parse().unwrap();
        let machine = machine(spec, &identity, policy, Vault::default());
        Self {
            index,
            name,
            identity,
            policy: policy.clone(),
            machine,
            stored: BTreeMap::new(),
            journal: Vec::new(),
            most_ops: 0,
            pending: VecDeque::new(),
            asked: Vec::new(),
            files: BTreeMap::new(),
            online: true,
            silent: BTreeSet::new(),
            trainer: Trainer::Trains,
            slow_receipt: false,
            held: None,
            trained: 0,
            refused: Vec::new(),
            kept: Vec::new(),
            cheats: None,
            draws: 0,
            fresh_draws: false,
            loses: None,
            crashed: false,
            spec: Arc::clone(spec),
            contributed: BTreeMap::new(),
            appends: appends.clone(),
        }
    }

    /// admit → secrets → append with them → apply → handle.
    pub fn submit(&mut self, at: Timestamp, event: Event) -> Result<(), Rejection> {
        self.machine.admit(at, &event)?;
        let fresh = self.draw(&event);
        let ops = self.machine.secrets(&event, &fresh)?;
        let fate = self.appends.append(&event);
        self.crashed |= fate != Fate::Done;
        if fate == Fate::Never {
            self.reboot();
            return Ok(()); // nobody waits for an answer: what was asked is asked again
        }
        self.journal.push((at, event.clone()));
        self.store(&ops);
        self.most_ops = self.most_ops.max(ops.len());
        if fate == Fate::DurableOnly {
            self.reboot();
            return Ok(());
        }
        self.machine.apply(ops);
        self.machine
            .handle(at, event)
            .expect("one writer: what was admitted is handled");
        self.collect();
        if let Some((entries, name)) = self.loses
            && entries == self.journal.len()
            && self.stored.contains_key(name)
        {
            self.lose(name);
            self.crashed = true;
        }
        Ok(())
    }

    /// A gullible site: what its machine refuses takes effect all the same. Gives the refusal.
    pub fn believe(&mut self, at: Timestamp, event: Event) -> Rejection {
        let refusal = self.machine.admit(at, &event);
        let fresh = self.draw(&event);
        let ops = self.machine.secrets(&event, &fresh).unwrap();
        self.journal.push((at, event.clone()));
        self.store(&ops);
        self.machine.apply(ops);
        self.machine.handle(at, event).unwrap();
        self.collect();
        refusal.expect_err("an honest site refuses it")
    }

    /// A copy of the machine and of everything that is durable here; from now on neither knows of the other.
    pub fn twin(&self) -> Self {
        let identity = Arc::clone(&self.identity);
        let mut twin = Self::new(
            self.index,
            identity,
            &self.spec,
            &self.policy,
            &self.appends,
        );
        twin.stored = self.stored.clone();
        twin.journal = self.journal.clone();
        twin.files = self.files.clone();
        twin.contributed = self.contributed.clone();
        twin.draws = self.draws;
        twin.reboot();
        twin
    }

    fn store(&mut self, ops: &[SecretOp]) {
        for op in ops {
            match op {
                SecretOp::Put { name, secret } => {
                    drop(self.stored.insert(name.clone(), secret.clone()));
                }
                SecretOp::Erase { name } => drop(self.stored.remove(name)),
            }
        }
    }

    fn draw(&mut self, event: &Event) -> Seed {
        if self.fresh_draws {
            self.draws += 1;
        }
        let purpose = match event {
            Event::Joined { epoch, .. } => format!("joined {epoch}"),
            Event::Trained(contribution) => format!("trained {}", contribution.model_hash),
            Event::Attempt { ann_hash, .. } => format!("attempt {ann_hash}"),
            _ => String::from("unused"),
        };
        seed(&format!("{} {purpose}", self.name), self.draws)
    }

    fn collect(&mut self) {
        let outputs = drain(&mut self.machine);
        self.asked
            .extend(outputs.iter().map(|output| format!("{output:?}")));
        self.pending.extend(outputs);
    }

    /// The process starts again: the vault as it was stored, every entry with its own time, outputs thrown away, resume.
    pub fn reboot(&mut self) {
        self.machine = self.replayed();
        self.pending.clear();
        self.machine.resume();
        self.collect();
    }

    /// Names of the attempts' secrets it keeps.
    pub fn secrets(&self) -> Vec<&str> {
        let names = self.stored.keys().map(String::as_str);
        names.filter(|name| name.starts_with("attempt/")).collect()
    }

    /// A stored secret goes bad.
    pub fn damage(&mut self, name: &str) {
        let secret = self.stored.get_mut(name).expect("it is stored");
        for record in secret.chunks_mut(36) {
            record[4] ^= 1; // the key after its index
        }
        self.reboot();
    }

    /// A stored secret is gone.
    pub fn lose(&mut self, name: &str) {
        self.stored.remove(name).expect("it was stored");
        self.reboot();
    }

    /// Starts again, to the same state.
    pub fn restart_checked(&mut self) {
        let state = |site: &Self| {
            let machine = &site.machine;
            (
                machine.session(),
                machine.duty(),
                machine.epoch(),
                machine.contribution().cloned(),
            )
        };
        let before = state(self);
        self.reboot();
        assert_eq!(state(self), before);
    }

    /// A fresh machine after every entry of the journal.
    pub fn replayed(&self) -> Participant {
        let vault = Vault::restore(self.stored.clone());
        let mut machine = machine(&self.spec, &self.identity, &self.policy, vault);
        for (at, event) in &self.journal {
            machine
                .handle(*at, event.clone())
                .expect("it was handled before");
            drain(&mut machine);
        }
        machine
    }

    /// How many outputs of a kind wait for a hand that may act.
    pub fn asked(&self, kind: Kind) -> usize {
        if !self.online || self.silent.contains(&kind) {
            return 0;
        }
        self.pending
            .iter()
            .filter(|output| Kind::of(output) == kind)
            .count()
    }

    pub fn take(&mut self, kind: Kind) -> Option<Output> {
        let place = self
            .pending
            .iter()
            .position(|output| Kind::of(output) == kind)?;
        self.pending.remove(place)
    }

    /// Journals everything that is due.
    pub fn decide(&mut self, at: Timestamp) {
        for _ in 0..100 {
            let Some(event) = self.machine.due(at) else {
                let next = self.machine.deadline();
                assert!(
                    next.is_none_or(|next| next > at),
                    "nothing is due, and yet no sleep"
                );
                return;
            };
            self.submit(at, event).unwrap();
        }
        panic!("there is always one more decision due");
    }

    /// Polls from the beginning and takes in what it is told; after a crash once more.
    pub fn hear(&mut self, at: Timestamp, hub: &Hub) {
        self.hear_once(at, hub);
        while std::mem::take(&mut self.crashed) {
            self.hear_once(at, hub);
        }
    }

    fn hear_once(&mut self, at: Timestamp, hub: &Hub) {
        self.decide(at);
        for (position, notice) in hub.news() {
            let heard = self.told(at, hub, position, notice);
            self.note(heard);
        }
    }

    pub fn note(&mut self, result: Result<(), Rejection>) {
        match result {
            // repeated, or about an attempt that is over at the other end: no reason to do anything
            Ok(()) | Err(Rejection::Repeated | Rejection::Elsewhere("attempt")) => {}
            Err(rejection) => self.refused.push(rejection),
        }
        self.collect();
    }

    /// Takes one notice in.
    pub fn told(
        &mut self,
        at: Timestamp,
        hub: &Hub,
        position: Position,
        notice: Notice,
    ) -> Result<(), Rejection> {
        match notice {
            Notice::EpochOpen { epoch, .. } => {
                let binding = Box::new(binding(&self.name));
                self.submit(at, Event::Joined { epoch, binding })
            }
            Notice::RosterReady { epoch, .. } => {
                if self.machine.roster().is_some() || self.machine.epoch() != epoch {
                    return Ok(()); // spares the tests n signatures each time
                }
                let advertisements = hub.epoch().advertisements().cloned().collect();
                self.submit(at, Event::Enrolled { advertisements })
            }
            Notice::RosterCertified(certificate) => {
                self.submit(at, Event::RosterCertified(certificate))
            }
            Notice::RoundOpen {
                announcement,
                round_config,
                proofs,
            } => {
                let signature = announcement.sign(&hub.identity);
                let opened = Event::Opened {
                    announcement,
                    signature,
                    round_config,
                    proofs,
                };
                if let Some(missed) = self.machine.result_before(at, &opened) {
                    self.submit(at, missed)?;
                }
                self.submit(at, opened)
            }
            Notice::CohortReady(cohort) => {
                let signature = cohort.sign(&hub.identity);
                self.step_of(at, cohort.ann_hash, Step::CohortSeen { cohort, signature })
            }
            Notice::SurvivorProposal(proposal) => {
                let signature = proposal.sign(&hub.identity);
                self.machine.propose(proposal, &signature)
            }
            Notice::SurvivorsCertified(certificate) => self.step(at, Step::Released(certificate)),
            Notice::AbortProposal(announcement) => {
                let signature = announcement.sign(&hub.identity);
                self.submit(
                    at,
                    Event::AbortProposed {
                        announcement,
                        signature,
                    },
                )
            }
            Notice::Result {
                result,
                certificate,
                ..
            } => {
                let signature = result.sign(&hub.identity);
                let place = (position.epoch, position.seq);
                let finished = Event::Finished {
                    place,
                    result,
                    certificate,
                    signature,
                };
                match self.machine.hear_result(finished) {
                    Some(finished) => self.submit(at, finished),
                    None => Ok(()),
                }
            }
            Notice::Ended(run::State::Running) => unreachable!("a run that goes on has not ended"),
            Notice::Ended(_) => Ok(()),
        }
    }

    /// A step of the attempt the site is in.
    pub fn step(&mut self, at: Timestamp, step: Step) -> Result<(), Rejection> {
        let ann_hash = self
            .machine
            .attempt()
            .ok_or(Rejection::Elsewhere("attempt"))?
            .hash();
        self.step_of(at, ann_hash, step)
    }

    fn step_of(&mut self, at: Timestamp, ann_hash: Digest, step: Step) -> Result<(), Rejection> {
        let step = Box::new(step);
        self.submit(at, Event::Attempt { ann_hash, step })
    }

    /// Does everything of this kind that is asked. After a crash the process first comes back to where it was.
    pub fn act(&mut self, at: Timestamp, kind: Kind, hub: &mut Hub, witness: &mut Witness) {
        self.act_once(at, kind, hub, witness);
        while std::mem::take(&mut self.crashed) {
            self.hear(at, hub);
            for earlier in Kind::ALL.into_iter().filter(|earlier| *earlier <= kind) {
                self.act_once(at, earlier, hub, witness);
            }
        }
    }

    fn act_once(&mut self, at: Timestamp, kind: Kind, hub: &mut Hub, witness: &mut Witness) {
        for _ in 0..self.asked(kind) {
            // a crash on the way forgets the rest
            let Some(output) = self.take(kind) else {
                return;
            };
            let done = self.perform(at, hub, witness, output);
            self.note(done);
        }
    }

    fn perform(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
        output: Output,
    ) -> Result<(), Rejection> {
        match output {
            Output::Join(advertisement) => {
                let site = self.name.clone();
                hub.tell_epoch(
                    at,
                    epoch::Event::Advertised {
                        site,
                        advertisement,
                    },
                )
            }
            Output::Confirm(confirmation) => {
                hub.tell_epoch(at, epoch::Event::Confirmed(confirmation))
            }
            Output::Train(attempt) => self.train(at, hub, &attempt),
            Output::Decline(ann_hash, why) => {
                let declined = |index| round::Event::Declined { index, why };
                answered(hub.tell(at, ann_hash, &self.name, declined))?;
                self.step_of(at, ann_hash, Step::Answered)
            }
            Output::Commit(_) => self.commit(at, hub, witness),
            Output::Upload(attempt) => self.upload(at, hub, witness, &attempt),
            Output::OpenShares(attempt) => {
                let items = hub.share_items(attempt.hash(), &self.name)?;
                self.machine.open_shares(attempt.hash(), &items)
            }
            Output::Accuse(attempt, dealers) => self.accuse(hub, attempt.hash(), &dealers),
            Output::Judge(_, proposal) => {
                let verdict = self.machine.judge(&proposal, &survivors(hub, &proposal))?;
                self.step(at, Step::Attested(verdict))
            }
            Output::Attest(ann_hash, attestation) => {
                self.attest(at, hub, witness, ann_hash, attestation)
            }
            Output::Unmask(ann_hash, list) => self.unmask(at, hub, witness, ann_hash, list),
            Output::Abort(attestation) => self.abort(at, hub, witness, attestation),
            Output::Forget(file) => {
                self.files.remove(&file.digest);
                Ok(())
            }
        }
    }

    /// What can be proved of these dealers is kept, and what cannot is refused.
    fn accuse(&mut self, hub: &Hub, ann_hash: Digest, dealers: &[u32]) -> Result<(), Rejection> {
        for dealer in dealers {
            let commit = hub.commit_record(ann_hash, &self.name, *dealer)?;
            match self.machine.wrong_share(ann_hash, *dealer, &commit) {
                Ok(proof) => self.kept.push(proof),
                Err(rejection) => self.refused.push(rejection),
            }
        }
        Ok(())
    }

    /// The update of site i has a quarter in element i, and a little of everything else.
    fn train(&mut self, at: Timestamp, hub: &mut Hub, attempt: &Attempt) -> Result<(), Rejection> {
        if let Trainer::Declines(why) = self.trainer {
            return self.step(at, Step::SatOut(why));
        }
        self.trained += 1;
        let announcement = attempt.announcement();
        let model = &hub.blobs[&announcement.model_hash];
        let global = super::job::flat(&self.spec, model);
        let noise =
            Digest::of_bulk(format!("{} {}", self.name, announcement.model_hash).as_bytes());
        let small = |k: usize| f32::from(noise.0[k % 32]) / 4096.0;
        let mark = |k: usize| if k == self.index as usize { 0.25 } else { 0.0 };
        let update: Vec<f32> = (0..global.len())
            .map(|k| small(k) + mark(k) - global[k] / 2.0)
            .collect();
        let weight = 10 * (u64::from(self.index) + 1);
        let loss = BTreeMap::from([(String::from("loss"), 1.0 + f64::from(self.index) / 2.0)]);
        let bytes: Vec<u8> = update.iter().flat_map(|x| x.to_le_bytes()).collect();
        let contribution = Contribution {
            round: announcement.round,
            model_hash: announcement.model_hash,
            roundcfg_hash: announcement.roundcfg_hash,
            update: BlobRef::of(&bytes),
            weight,
            metadata: self.spec.metadata().encode(weight, weight, &loss).unwrap(),
        };
        self.files.insert(contribution.update.digest, update);
        self.submit(at, Event::Trained(Box::new(contribution)))
    }

    fn commit(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
    ) -> Result<(), Rejection> {
        if self.machine.session() == Some(SessionPhase::Training) {
            self.step(at, Step::Committed)?;
        }
        if self.crashed {
            return Ok(());
        }
        let mut commit = self.machine.commit()?;
        if let Some(holder) = self.cheats {
            commit = self.cheating(commit, holder);
        }
        witness.commit(self.name.as_str(), &commit);
        let (ann_hash, commit) = (commit.ann_hash, Box::new(commit));
        let committed = |index| round::Event::Committed { index, commit };
        answered(hub.tell(at, ann_hash, &self.name, committed))?;
        self.step(at, Step::Answered)
    }

    /// The same Commit with a wrong share for one holder, signed again.
    fn cheating(&self, commit: Commit, holder: u32) -> Commit {
        let attempt = self.machine.attempt().expect("it commits to one");
        let place = format!("attempt/1/{}/outbound", attempt.announcement().seq);
        let keys = &self.stored[&place];
        let seeds = (0..).map(|k| seed("identity", k));
        let mut seeds = seeds.filter(|s| Identity::from_seed(s).public() == self.identity.public());
        let key = seeds
            .next()
            .expect("its identity is one of the federation's");
        missealed(attempt, self.index, key.expose(), keys, holder, commit)
    }

    fn upload(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
        attempt: &Attempt,
    ) -> Result<(), Rejection> {
        let near = coordinator::neighbourhood(
            hub.round().attempt(),
            hub.round().commits(),
            hub.index(&self.name),
        )?;
        let masking = self
            .machine
            .masking(&near)
            .inspect_err(|_| self.machine.drop_out())?;
        self.machine.mask_with(&near);
        let own = self.own();
        if matches!(self.machine.session(), Some(SessionPhase::Committed { .. })) {
            self.step(at, Step::Submitting)?;
        }
        if self.crashed {
            return Ok(());
        }
        let bytes = masking.chunk(0, &own.elements);
        let (trailer, sent) =
            masking.trailer(&self.identity, &[Digest::of_bulk(&bytes)], &own.lanes);
        witness.upload(
            self.name.as_str(),
            attempt.hash(),
            masking.ctx(),
            &bytes,
            &trailer,
        );
        let received = hub.receive(at, &self.name, &masking.header(), &bytes, &trailer);
        let (receipt, signature) = received?;
        let parts = Some(UploadParts::of(&trailer));
        if self.slow_receipt {
            self.held = Some(Step::Received {
                receipt,
                signature,
                parts,
            });
            return Ok(());
        }
        let event = self
            .machine
            .receive(attempt.hash(), receipt, signature, &sent, parts)?;
        self.submit(at, event)
    }

    /// The pinned update, quantised with the pinned rounding: the same numbers in every attempt.
    fn own(&mut self) -> Contributed {
        let pinned = self.machine.contribution().expect("the update is pinned");
        let z = self.machine.rounding().expect("with its rounding");
        let noise = |chunk, bytes: &mut [u8]| Keystream::new(&z, 0, chunk).fill(bytes);
        let update = &self.files[&pinned.update.digest];
        let quantised = self
            .spec
            .quantiser()
            .quantise(update, pinned.weight, &noise);
        let own = Contributed {
            elements: quantised.unwrap().lanes,
            lanes: pinned.metadata.clone(),
        };
        let first = self.contributed.entry(pinned.model_hash);
        let first = first.or_insert_with(|| own.clone());
        assert_eq!(*first, own, "one contribution is one quantised vector");
        own
    }

    fn attest(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
        ann_hash: Digest,
        attestation: Box<Attestation>,
    ) -> Result<(), Rejection> {
        witness.attestation(self.name.as_str(), ann_hash, &attestation);
        let attested = |index| round::Event::Attested { index, attestation };
        answered(hub.tell(at, ann_hash, &self.name, attested))
    }

    fn unmask(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
        ann_hash: Digest,
        list: Box<UnmaskList>,
    ) -> Result<(), Rejection> {
        witness.list(self.name.as_str(), ann_hash, &list);
        let unmasked = |index| round::Event::Unmasked { index, list };
        answered(hub.tell(at, ann_hash, &self.name, unmasked))?;
        self.step_of(at, ann_hash, Step::Delivered)
    }

    fn abort(
        &mut self,
        at: Timestamp,
        hub: &mut Hub,
        witness: &mut Witness,
        attestation: AbortAttestation,
    ) -> Result<(), Rejection> {
        witness.abort(self.name.as_str(), &attestation);
        let aborted = |index| round::Event::AbortAttested { index, attestation };
        answered(hub.tell(at, attestation.ann_hash, &self.name, aborted))
    }
}

/// A repeated message gets the first answer.
fn answered(result: Result<(), Rejection>) -> Result<(), Rejection> {
    match result {
        Err(Rejection::Repeated) => Ok(()),
        other => other,
    }
}

/// What GetSurvivors gives.
pub fn survivors(hub: &Hub, proposal: &SurvivorProposal) -> Vec<SurvivorItem> {
    let uploads = hub.round().uploads().values();
    let kept = uploads.filter(|upload| proposal.survivors.contains(upload.item.index));
    kept.map(|upload| upload.item).collect()
}

pub fn machine(
    spec: &Arc<RunSpec>,
    identity: &Arc<Identity>,
    policy: &Policy,
    vault: Vault,
) -> Participant {
    let setting = Setting {
        spec: Arc::clone(spec),
        identity: Arc::clone(identity),
        policy: policy.clone(),
    };
    Participant::new(setting, vault).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub fn binding(site: &SiteName) -> Binding {
    let claim = BindingClaim {
        organisation: String::from("org"),
        site: site.to_string(),
        not_before: 0,
        not_after: 1 << 40,
    };
    Binding {
        claim,
        scheme: 0x0807,
        signature: Vec::new(),
        chain: Vec::new(),
    }
}

/// What a site advertises for an epoch.
pub fn advertisement(fed: &Federation, index: usize, epoch: u64) -> Advertisement {
    let seed = seed(&format!("site-{index} joined {epoch}"), 0);
    advertisement_from(fed, index, epoch, &seed)
}

pub fn advertisement_from(
    fed: &Federation,
    index: usize,
    epoch: u64,
    seed: &Seed,
) -> Advertisement {
    let (params, site) = (fed.hub.spec.params(), &fed.sites[index]);
    AwaitingRoster::new(params, epoch, &site.identity, &binding(&site.name), seed).1
}
