//! One site of a simulation: its machine, and the hands that do what the machine asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::run::RunSpec;
use veilsum_engine::machine::Machine as _;
use veilsum_engine::participant::{Contribution, Event, Output, Participant, Setting, Step};
use veilsum_engine::policy::Policy;
use veilsum_engine::vault::Vault;
use veilsum_secagg::Certificate;
use veilsum_secagg::Digest;
use veilsum_secagg::keys::{BindingClaim, Identity, Seed, Signature};
use veilsum_secagg::message::{
    Advertisement, Attestation, Commit, Neighbourhood, ShareItem, SurvivorItem, SurvivorProposal,
    UnmaskList, UploadTrailer,
};
use veilsum_secagg::participant::Binding;
use veilsum_secagg::prg::Keystream;

use super::{NOW, seed};

/// What a trainer hands over, and the source of its rounding.
pub struct Trained {
    pub update: Vec<f32>,
    pub examples: u64,
    pub loss: f64,
    pub rounding: Seed,
}

/// What a site adds to the sum, before it is masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear {
    pub lanes: Vec<i64>,
    pub metadata: Vec<u64>,
}

impl Clear {
    /// What `trained` adds, by the rule of the run.
    pub fn of(spec: &RunSpec, trained: &Trained) -> Self {
        let weight = spec.study().secagg().weight.weight(trained.examples);
        let loss = BTreeMap::from([(String::from("loss"), trained.loss)]);
        let metadata = spec.metadata().encode(weight, trained.examples, &loss);
        let noise = |chunk: u64, bytes: &mut [u8]| {
            Keystream::new(&trained.rounding, 0, chunk).fill(bytes);
        };
        let quantised = spec.quantiser().quantise(&trained.update, weight, &noise);
        Self {
            lanes: quantised.unwrap().lanes,
            metadata: metadata.unwrap(),
        }
    }
}

pub(super) struct Site {
    pub(super) name: SiteName,
    machine: Participant,
    spec: Arc<RunSpec>,
    clear: Option<Clear>,
    draws: u64,
}

impl Site {
    pub(super) fn new(
        index: u32,
        identity: Arc<Identity>,
        spec: &Arc<RunSpec>,
        policy: &Policy,
    ) -> Self {
        let setting = Setting {
            spec: Arc::clone(spec),
            identity,
            policy: policy.clone(),
        };
        Self {
            name: format!("site-{index}").parse().unwrap(),
            machine: Participant::new(setting, Vault::default()).unwrap(),
            spec: Arc::clone(spec),
            clear: None,
            draws: 0,
        }
    }

    /// An event with fresh entropy.
    pub(super) fn submit(&mut self, event: Event) {
        self.draws += 1;
        let fresh = seed(self.name.as_str(), self.draws);
        self.submit_with(event, &fresh);
    }

    fn submit_with(&mut self, event: Event, fresh: &Seed) {
        self.machine.admit(NOW, &event).unwrap();
        let ops = self.machine.secrets(&event, fresh).unwrap();
        self.machine.apply(ops);
        self.machine.handle(NOW, event).unwrap();
    }

    pub(super) fn step(&mut self, step: Step) {
        let ann_hash = self.machine.attempt().unwrap().hash();
        self.submit(Event::Attempt {
            ann_hash,
            step: Box::new(step),
        });
    }

    /// The first thing the machine asks for that `pick` knows; what it asked for before is done in lock-step anyway.
    fn asked<T>(&mut self, pick: impl Fn(Output) -> Option<T>) -> T {
        std::iter::from_fn(|| self.machine.poll_output())
            .find_map(pick)
            .unwrap()
    }

    pub(super) fn join(&mut self) -> Advertisement {
        let claim = BindingClaim {
            organisation: String::from("org"),
            site: self.name.to_string(),
            not_before: 0,
            not_after: 1 << 40,
        };
        let binding = Box::new(Binding {
            claim,
            scheme: 0x0807,
            signature: Vec::new(),
            chain: Vec::new(),
        });
        self.submit(Event::Joined { epoch: 1, binding });
        self.asked(|output| match output {
            Output::Join(advertisement) => Some(*advertisement),
            _ => None,
        })
    }

    pub(super) fn confirm(&mut self, advertisements: Vec<Advertisement>) -> Signature {
        self.submit(Event::Enrolled { advertisements });
        self.asked(|output| match output {
            Output::Confirm(confirmation) => Some(confirmation.signature),
            _ => None,
        })
    }

    /// Pins the update with the rounding it is given, where a daemon draws one from the operating system.
    pub(super) fn train(&mut self, trained: &Trained) -> Clear {
        let attempt = Arc::clone(self.machine.attempt().unwrap());
        let announcement = attempt.announcement();
        let clear = Clear::of(&self.spec, trained);
        let bytes: Vec<u8> = trained
            .update
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let contribution = Contribution {
            round: announcement.round,
            model_hash: announcement.model_hash,
            roundcfg_hash: announcement.roundcfg_hash,
            update: BlobRef::of(&bytes),
            weight: clear.metadata[0],
            metadata: clear.metadata.clone(),
        };
        self.submit_with(Event::Trained(Box::new(contribution)), &trained.rounding);
        self.clear = Some(clear.clone());
        clear
    }

    pub(super) fn commit(&mut self) -> Commit {
        self.step(Step::Committed);
        self.machine.commit().unwrap()
    }

    /// The masked update: packed chunks and trailer.
    pub(super) fn upload(&mut self, near: &Neighbourhood) -> (Vec<u8>, UploadTrailer) {
        let masking = self.machine.masking(near).unwrap();
        self.step(Step::Submitting);
        let params = self.spec.params();
        let clear = self.clear.take().unwrap();
        let (mut lanes, mut packed, mut hashes) = (&clear.lanes[..], Vec::new(), Vec::new());
        for chunk in 0..params.chunks() {
            let (now, rest) = lanes.split_at(params.chunk_len(chunk) as usize);
            let bytes = masking.chunk(chunk, now);
            hashes.push(Digest::of_bulk(&bytes));
            packed.extend_from_slice(&bytes);
            lanes = rest;
        }
        let (trailer, _) = masking.trailer(self.machine.identity(), &hashes, &clear.metadata);
        (packed, trailer)
    }

    pub(super) fn attest(
        &mut self,
        shares: &[ShareItem],
        proposal: &SurvivorProposal,
        signature: &Signature,
        items: &[SurvivorItem],
    ) -> Attestation {
        let ann_hash = self.machine.attempt().unwrap().hash();
        self.machine.open_shares(ann_hash, shares).unwrap();
        self.machine.propose(proposal.clone(), signature).unwrap();
        let verdict = self.machine.judge(proposal, items).unwrap();
        self.step(Step::Attested(verdict));
        self.asked(|output| match output {
            Output::Attest(_, attestation) => Some(*attestation),
            _ => None,
        })
    }

    pub(super) fn release(&mut self, certificate: Certificate) -> UnmaskList {
        self.step(Step::Released(certificate));
        self.asked(|output| match output {
            Output::Unmask(_, list) => Some(*list),
            _ => None,
        })
    }
}
