//! Secure aggregation: the cryptography of both roles, without I/O, clock or randomness of its own.
//!
//! The coordinator learns the sum of the updates and nothing else about them. A participant masks its quantised update with one
//! keystream per neighbour, which cancel in the sum, and one of its own. The keys to take off what does not cancel are Shamir-shared
//! among holders, who reveal for every member exactly one of two secrets, and only for the one survivor set that t of them signed.
//! Source of everything here: `docs/protocol.md`, whose sections the modules name.
//!
//! # A round in fourteen lines
//!
//! What one site (S: the coordinator) calls, in this order; each line runs below for three sites, and the sum is compared.
//!
//! ```
//! # use std::{collections::BTreeMap, sync::Arc};
//! # use veilsum_secagg::{context::{Attempt, Roster}, coordinator, holder::{Idle, OpenedShares}, keys::*, message::*, params::*};
//! # use veilsum_secagg::{participant::*, ring, Bitmap, Certificate, Digest};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let coordinator_key = Identity::from_seed(&Seed::new([99; 32]));
//! # let config = RunConfig {
//! #     protocol_version: veilsum_secagg::PROTOCOL_VERSION, run_id: [1; 16], coordinator_pk: *coordinator_key.public().as_bytes(),
//! #     profile: 0, masking: 0, prg: 0, arch_digest: [0; 32], layout_digest: [0; 32], code_digest: [0; 32],
//! #     elements: 4, meta_lanes: 1, chunk_elems: 8, v: 16, m: 18, n_max: 3, clamp: 1.0, l2_clip: 0.0, weight_max: 1, quantiser: 1,
//! #     mean_degree: 0, committee: 0, committee_size: 0, committee_threshold: 0, designated: vec![], rho_num: 1, rho_den: 3,
//! #     delta_max_permille: 200, cohort_min_permille: 700, corrupt_rule: 0, gamma_permille: 0, min_cohort: 3, min_honest: 2,
//! #     commit_reveal: 0, epoch_rounds: 100, epoch_seconds: 604_800, batch_size: 0, audit: 0, dp_spec: vec![], optimiser: vec![],
//! # };
//! # let params = Arc::new(Params::new(config)?);
//! # let updates = [[1, -2, 3, 4], [10, 20, -30, 40], [100, 200, 300, -400]];
//! # let mut identities: Vec<_> = (1..=3).map(|k| Identity::from_seed(&Seed::new([k; 32]))).collect();
//! # identities.sort_by_key(|identity| identity.public().id());
//! # let claim = BindingClaim { organisation: "org".into(), site: "site".into(), not_before: 0, not_after: 1 << 40 };
//! # let binding = Binding { claim, scheme: 0x0807, signature: vec![], chain: vec![] };
//! # let fresh = |k: u8| Seed::new([k; 32]); // in earnest: 32 bytes from the operating system, each time
//! # let (mut waiting, mut advertisements) = (vec![], vec![]);
//! # for (identity, k) in identities.iter().zip(10..) {
//! # let seed = fresh(k);
//! let (site, advertisement) = AwaitingRoster::new(&params, 1, identity, &binding, &seed); // an epoch's keys
//! # waiting.push(site); advertisements.push(advertisement); }
//! # let roster = Arc::new(Roster::new(Arc::clone(&params), 1, &advertisements)?);
//! # let announcement = Announcement {
//! #     epoch_ctx: roster.ctx(), round: 1, seq: 1, retry_of: Digest::ZERO, model_hash: Digest::of_bulk(b"model"),
//! #     prev_result_hash: Digest::ZERO, roundcfg_hash: round_config_hash(b""), holders: Bitmap::full(3),
//! #     threshold: params.threshold(3, 3), commit_by_ms: 1, submit_by_ms: 2, expires_ms: 3,
//! # };
//! # let attempt = Arc::new(Attempt::new(Arc::clone(&roster), announcement)?);
//! # let (mut inbound, mut own, mut states, mut commits) = (vec![], vec![], vec![], BTreeMap::new());
//! # for ((site, identity), (me, k)) in waiting.into_iter().zip(&identities).zip((0u32..).zip(20..)) {
//! let channels = site.accept(&roster)?; // the roster was checked: now the keys of its share channels
//! let (channels, keys) = channels.advance(&attempt, me)?; // A: one step of the ratchet per attempt
//! # let seed = fresh(k);
//! let site = Committed::new(Arc::clone(&attempt), me, &seed)?; // B: fresh secrets, after the update is pinned
//! let commit = site.commit(identity, &keys.outbound)?;
//! # coordinator::check_commit(&attempt, me, &commit)?;
//! # drop(channels); inbound.push(keys.inbound); own.push(site.own_shares()); states.push(site); commits.insert(me, commit); }
//! let cohort = coordinator::close_cohort(&attempt, &commits)?; // S: who is in
//! # let (mut items, mut sum) = (vec![], vec![0u64; 4]);
//! # for (((site, identity), update), me) in states.into_iter().zip(&identities).zip(&updates).zip(0u32..) {
//! # let near = coordinator::neighbourhood(&attempt, &commits, me)?;
//! let masking = site.accept(&cohort, &near)?; // C: masks bound to this cohort
//! let chunk = masking.chunk(0, update); // the same bytes every time
//! # let (trailer, upload_hash) = masking.trailer(identity, &[Digest::of_bulk(&chunk)], &[1]);
//! # items.push(SurvivorItem { index: me, upload_hash, signature: trailer.signature });
//! # ring::unpack(&chunk, 18, 4, |k, value| sum[k] += value)?; }
//! let proposal = coordinator::close_survivors(&attempt, &cohort, &items)?; // S: whose uploads count, once
//! # let (mut attested, mut attestations, mut openeds) = (vec![], vec![], vec![]);
//! # for ((inbound, own), (me, identity)) in inbound.iter().zip(&own).zip((0u32..).zip(&identities)) {
//! # let shares = coordinator::share_items(&attempt, &commits, me)?;
//! # let opened = OpenedShares::open(&attempt, me, inbound, own.as_ref(), &cohort, &shares)?;
//! # let mine = Some((me, items[me as usize].upload_hash));
//! # let holder = Idle::new(Arc::clone(&attempt), me)?;
//! let verdict = holder.judge(&cohort, &opened, &proposal, &items, mine)?; // D: each survivor signed under this cohort
//! let holder = holder.attest(verdict); // stored before the signature leaves; `Idle` is gone
//! # attestations.push(holder.attestation(identity)); attested.push(holder); openeds.push(opened); }
//! # let signatures = attestations.iter().map(|a| (a.position, a.signature)).collect();
//! # let certificate = Certificate { digest: proposal.digest(), signatures };
//! # let mut lists = BTreeMap::new();
//! # for ((holder, opened), (me, identity)) in attested.into_iter().zip(&openeds).zip((0u32..).zip(&identities)) {
//! # let certified = certificate.certify_survivors(&attempt, proposal.digest())?;
//! let released = holder.release(certified).ok().expect("the certificate is for this set"); // E: t signatures
//! let list = released.unmask(identity, opened)?; // exactly one share per member
//! # coordinator::check_unmask(&attempt, &cohort, &proposal.digest(), me, &list)?;
//! # lists.insert(me, list); }
//! let unmasked = coordinator::unmask(&attempt, &cohort, &proposal.survivors, &commits, &lists)?; // S: the sum, and no more
//! # unmasked.masks.add_to_sum(params.lane(), 0, &mut sum);
//! # let plain = [111, 218, 273, -356];
//! # assert!(sum.iter().map(|lane| ring::centred(*lane, 18)).eq(plain));
//! # Ok(()) }
//! ```
//!
//! # What a state may do
//!
//! A step takes the state by value, so a second one does not compile. A holder attests one survivor set:
//!
//! ```compile_fail,E0382
//! # use veilsum_secagg::holder::{Attested, Idle, Verdict};
//! fn attest_twice(holder: Idle, one: Verdict, other: Verdict) -> (Attested, Attested) {
//!     (holder.attest(one), holder.attest(other))
//! }
//! ```
//!
//! and what has been released can never be aborted:
//!
//! ```compile_fail,E0599
//! # use veilsum_secagg::holder::{Aborted, Released};
//! fn change_of_mind(holder: Released) -> Aborted {
//!     holder.abort()
//! }
//! ```
//!
//! A state can be made again from what was stored, which is how a site survives a crash. That the same attempt never goes two ways
//! is therefore half types, half the caller's ledger: what must be durable before which step is in section 14 of the protocol.
//!
//! # What it rests on
//!
//! * Corruption is static: at most n_C members, at most c holders with 2t − L > c; a holder whose stored state went back in time counts
//!   as corrupt.
//! * 32 bytes of the operating system's randomness are good when a Commit is made, and identity keys are whose they are said to be.
//! * X25519 (gap Diffie–Hellman), Ed25519, SHA-256 as a random oracle, HKDF, ChaCha20-Poly1305 and AES-256-CTR are what they are taken
//!   for.
//! * The sum itself says something about its parts. How much is a matter for cohort size and policy, not for this crate.
//!
//! The argument from these to "the sum and nothing else" is a sketch (section 20), not a proof.
mod bitmap;
mod certificate;
pub mod channel;
pub mod checksum;
mod codec;
mod commitment;
pub mod context;
pub mod coordinator;
mod error;
pub mod evidence;
pub mod graph;
pub mod holder;
pub mod keys;
mod labels;
pub mod mask;
pub mod merkle;
pub mod message;
pub mod params;
pub mod participant;
pub mod prg;
pub mod ring;
pub mod shamir;
#[cfg(test)]
mod tests;
pub mod wide;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use bitmap::{Bitmap, BitmapError};
pub use certificate::{Certificate, CertifiedAbort, CertifiedRoster, CertifiedSurvivors};
pub use codec::{Digest, NotADigest};
pub use commitment::Secret;
pub use error::{Culprit, Error, Fault};
pub use labels::PROTOCOL_VERSION;
