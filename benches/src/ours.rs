//! What one site does in a round, and what the coordinator does at its end, cut where Flower's stages are.

use std::hint::black_box;
use std::sync::Arc;

use veilsum_common::limits::CHUNK_ELEMS;
use veilsum_common::quantise::{Measure, Quantiser};
use veilsum_secagg::Digest;
use veilsum_secagg::context::Roster;
use veilsum_secagg::coordinator;
use veilsum_secagg::holder::OpenedShares;
use veilsum_secagg::keys::Seed;
use veilsum_secagg::message::{Neighbourhood, ShareItem};
use veilsum_secagg::participant::{AwaitingRoster, Committed};
use veilsum_secagg::prg::Keystream;

use crate::cast::{Cast, Released, attempt_seed, binding, epoch_seed};
use crate::figure::Clock;
use crate::unmask::unmask_sum;

/// Bits of a value: the default.
const BITS: u8 = 16;
/// Both sides clip values to ± this.
const CLAMP: f64 = 8.0;
/// The site that is measured.
const ME: u32 = 1;

/// One site of a cast, before its keys.
pub struct Site<'a> {
    cast: &'a Cast,
    near: Neighbourhood,
    items: Vec<ShareItem>,
    update: Vec<f32>,
    lanes: Vec<u32>,
    packed: Vec<u8>,
}

impl<'a> Site<'a> {
    pub fn new(cast: &'a Cast) -> Self {
        let elements = usize::try_from(cast.attempt.params().config().elements);
        let mut word = 1u32;
        let update = std::iter::repeat_with(|| {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (word >> 8) as f32 / (1 << 22) as f32 - 2.0
        });
        Self {
            cast,
            near: coordinator::neighbourhood(&cast.attempt, &cast.commits, ME).expect("a member"),
            items: coordinator::share_items(&cast.attempt, &cast.commits, ME).expect("a holder"),
            update: update.take(elements.expect("fits in memory")).collect(),
            lanes: vec![0; CHUNK_ELEMS as usize],
            packed: Vec::new(),
        }
    }

    /// Seconds from the cohort to the signed upload: keys of all neighbours verified and agreed with, update quantised, masked,
    /// packed, hashed.
    pub fn masking(&mut self) -> f64 {
        let (attempt, seed) = (Arc::clone(&self.cast.attempt), attempt_seed(ME));
        let mut state = Some(Committed::new(attempt, ME, &seed).expect("a member"));
        Clock::Thread.seconds(&mut || {
            let state = state.take().expect("this runs once");
            black_box(self.upload(state));
        })
    }

    /// Seconds from nothing to the signed upload: every key and every verified advertisement of the epoch, the Commit with a share
    /// for everybody, all shares of others opened and checked, and the masking.
    pub fn together(&mut self) -> f64 {
        Clock::Thread.seconds(&mut || {
            let state = self.keys_and_shares();
            black_box(self.upload(state));
        })
    }

    fn keys_and_shares(&self) -> Committed {
        let Cast {
            attempt, cohort, ..
        } = self.cast;
        let (params, identity) = (attempt.params(), &self.cast.identities[ME as usize]);
        let site = AwaitingRoster::new(params, 1, identity, &binding(), &epoch_seed(ME)).0;
        let roster = Roster::new(
            Arc::clone(attempt.roster().params()),
            1,
            &self.cast.advertisements,
        );
        let channels = site.accept(&roster.expect("n different sites"));
        let (_, keys) = channels
            .and_then(|channels| channels.advance(attempt, ME))
            .expect("the first attempt");
        let state = Committed::new(Arc::clone(attempt), ME, &attempt_seed(ME)).expect("a member");
        black_box(state.commit(identity, &keys.outbound).expect("all keys"));
        let own = state.own_shares();
        let opened = OpenedShares::open(
            attempt,
            ME,
            &keys.inbound,
            own.as_ref(),
            cohort,
            &self.items,
        );
        black_box(opened.expect("honest dealers"));
        state
    }

    fn upload(&mut self, state: Committed) -> Digest {
        let masking = state
            .accept(&self.cast.cohort, &self.near)
            .expect("an honest coordinator");
        let mut measure = Measure::new();
        measure.add(&self.update).expect("all are finite");
        let second = quantiser()
            .begin(1, measure)
            .expect("the weight is in range");
        let (rounding, mut hashes) = (Seed::new([9; 32]), Vec::new());
        for (chunk, values) in (0..).zip(self.update.chunks(CHUNK_ELEMS as usize)) {
            let mut stream = Keystream::new(&rounding, 0, chunk);
            let lanes = &mut self.lanes[..values.len()];
            second
                .chunk(0, values, &mut |bytes| stream.fill(bytes), lanes)
                .expect("all are in range");
            self.packed.clear();
            masking.pack_chunk(chunk, lanes, &mut self.packed);
            hashes.push(Digest::of_bulk(&self.packed));
        }
        let metadata = vec![1; self.cast.attempt.params().config().meta_lanes as usize];
        let identity = &self.cast.identities[ME as usize];
        masking.trailer(identity, &hashes, &metadata).1
    }
}

fn quantiser() -> Quantiser {
    Quantiser::new(CLAMP, None, 1, BITS).expect("settings of a usual study")
}

/// Seconds from released shares and the masked sum to the mean as floating-point numbers.
pub fn unmasking(cast: &Cast, released: &Released) -> f64 {
    let config = cast.attempt.params().config();
    let elements = usize::try_from(config.elements).expect("fits in memory");
    let mut sum = vec![1u32; elements];
    let mut metadata = vec![1; config.meta_lanes as usize];
    let (quantiser, unused) = (quantiser(), 32 - u32::from(config.m));
    Clock::Thread.seconds(&mut || {
        unmask_sum(cast, released, &mut sum, &mut metadata);
        let weights = released.survivors.count().into();
        let signed = sum
            .iter()
            .map(|lane| (lane << unused).cast_signed() >> unused);
        let mean: Vec<f64> = signed
            .map(|lane| quantiser.decode(lane.into(), weights))
            .collect();
        black_box(mean);
    })
}
