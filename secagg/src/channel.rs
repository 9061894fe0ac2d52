//! The share channel from dealer to holder: one chain key per pair and epoch, ratcheted once per attempt, one round key each way.
//!
//! A round key is kept instead of the chain key: the chain has moved on, so what is seized later opens no recorded ciphertext of
//! an earlier attempt. When a key is erased is the caller's to see to (section 4). Source: protocol, sections 4, 5 and 8.

use std::collections::BTreeMap;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use zeroize::Zeroizing;

use crate::codec::{Digest, expand, extract, hash, le64};
use crate::context::{Attempt, Member, Roster};
use crate::error::Error;
use crate::keys::{ExchangeSecret, Seed};
use crate::labels;
use crate::message::CIPHERTEXT_BYTES;

/// Furthest an attempt number may jump; bounds the work of catching up.
pub const MAX_SEQ_JUMP: u64 = 1024;

/// Secrets of pairs, by the other side's roster index.
#[derive(Default)]
pub struct PairKeys(BTreeMap<u32, Seed>);

impl PairKeys {
    /// The key of the pair with `other`.
    pub(crate) fn get(&self, other: u32) -> Option<&Seed> {
        self.0.get(&other)
    }

    /// Bytes for sealed storage: (LE32 index, 32 bytes) each.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.0.len() * 36));
        for (index, key) in &self.0 {
            out.extend_from_slice(&index.to_le_bytes());
            out.extend_from_slice(key.expose());
        }
        out
    }

    /// Reads stored bytes back.
    ///
    /// # Errors
    /// [`Error::Stored`] if they do not have the form [`Self::to_secret_bytes`] writes.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let records = bytes.chunks_exact(36);
        if !records.remainder().is_empty() {
            return Err(Error::Stored("pair key"));
        }
        let read = |record: &[u8]| {
            let (index, key) = record.split_at(4);
            Some((
                u32::from_le_bytes(index.try_into().ok()?),
                Seed::restore(key)?,
            ))
        };
        records
            .map(|record| read(record).ok_or(Error::Stored("pair key")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Chain keys of one site with every other member of its epoch, at one attempt number.
pub struct Channels {
    seq: u64,
    chains: PairKeys,
}

/// Round keys of one attempt: what this site opens as a holder, and what it seals as a dealer.
pub struct RoundKeys {
    /// `RK^seq(i → me)`, by dealer; empty when this site is not a holder.
    pub inbound: PairKeys,
    /// `RK^seq(me → c)`, by holder.
    pub outbound: PairKeys,
}

impl Channels {
    /// `CK^0 = Expand(Extract(epoch_ctx, ss), "chan", id_lo, id_hi, X_lo, X_hi)` with every other member.
    pub(crate) fn derive(roster: &Roster, me: u32, secret: &ExchangeSecret) -> Result<Self, Error> {
        let own = roster.member(me).ok_or(Error::NotAMember("roster"))?;
        let mut chains = BTreeMap::new();
        for (index, other) in (0..).zip(roster.members()) {
            if index == me {
                continue;
            }
            let shared = secret.agree(&other.x_pk).map_err(|fault| fault.by(index))?;
            let (lo, hi) = if me < index {
                (own, other)
            } else {
                (other, own)
            };
            let parts: [&[u8]; 4] = [
                lo.id.0.as_ref(),
                hi.id.0.as_ref(),
                lo.x_pk.as_bytes(),
                hi.x_pk.as_bytes(),
            ];
            chains.insert(
                index,
                expand(&extract(&roster.ctx().0, &shared[..]), labels::CHAN, &parts).into(),
            );
        }
        Ok(Self {
            seq: 0,
            chains: PairKeys(chains),
        })
    }

    /// The next attempt number the chains stand at.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    #[cfg(test)]
    pub(crate) fn chain(&self, other: u32) -> Option<&Seed> {
        self.chains.get(other)
    }

    /// Takes the round keys of `attempt` and moves every chain one step past it. The caller erases `self` once the result is stored.
    ///
    /// # Errors
    /// [`Error::Sequence`] for a step back or a jump of more than [`MAX_SEQ_JUMP`]; the chains are unchanged.
    pub fn advance(&self, attempt: &Attempt, me: u32) -> Result<(Self, RoundKeys), Error> {
        let seq = attempt.announcement().seq;
        // The chains stand one past the last attempt, and a jump is counted from that attempt.
        let highest = self.seq.saturating_sub(1).saturating_add(MAX_SEQ_JUMP);
        if !(self.seq..=highest).contains(&seq) {
            return Err(Error::Sequence {
                seq,
                lowest: self.seq,
                highest,
            });
        }
        let own = attempt.member(me)?;
        let is_holder = attempt.position(me).is_some();
        let (mut chains, mut inbound, mut outbound) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (&index, chain) in &self.chains.0 {
            let other = attempt.member(index)?;
            let mut key = chain.duplicate();
            for _ in self.seq..seq {
                key = ratchet(&key);
            }
            if is_holder {
                inbound.insert(index, round_key(&key, other, own));
            }
            if attempt.position(index).is_some() {
                outbound.insert(index, round_key(&key, own, other));
            }
            chains.insert(index, ratchet(&key));
        }
        let next = Self {
            seq: seq + 1,
            chains: PairKeys(chains),
        };
        Ok((
            next,
            RoundKeys {
                inbound: PairKeys(inbound),
                outbound: PairKeys(outbound),
            },
        ))
    }

    /// Bytes for sealed storage.
    pub fn to_secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(self.seq.to_le_bytes().to_vec());
        out.extend_from_slice(&self.chains.to_secret_bytes());
        out
    }

    /// Reads stored bytes back.
    ///
    /// # Errors
    /// [`Error::Stored`] if they do not have the form [`Self::to_secret_bytes`] writes.
    pub fn from_secret_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (seq, chains) = bytes
            .split_first_chunk::<8>()
            .ok_or(Error::Stored("channel"))?;
        Ok(Self {
            seq: u64::from_le_bytes(*seq),
            chains: PairKeys::from_secret_bytes(chains)?,
        })
    }
}

/// `CK^{s+1} = Expand(CK^s, "ratchet")`.
fn ratchet(chain: &Seed) -> Seed {
    expand(chain.expose(), labels::RATCHET, &[]).into()
}

/// `RK^s(i→c) = Expand(CK^s, "round", id_i, id_c)`.
fn round_key(chain: &Seed, dealer: &Member, holder: &Member) -> Seed {
    expand(
        chain.expose(),
        labels::ROUND_KEY,
        &[dealer.id.0.as_ref(), holder.id.0.as_ref()],
    )
    .into()
}

/// One sealed pair of shares: whose, for whom, under which nonce and core.
pub(crate) struct Envelope<'a> {
    pub attempt: &'a Attempt,
    pub dealer: u32,
    pub holder: u32,
    pub nonce: &'a [u8; 32],
    pub core: &'a Digest,
}

impl Envelope<'_> {
    /// `k_share(i→c) = Expand(RK^seq(i→c), "share", id_i, id_c, LE64(seq), nonce_i)`: serves one ciphertext, hence the zero nonce.
    pub(crate) fn key(&self, round_key: &Seed) -> Result<Seed, Error> {
        let (dealer, holder) = (
            self.attempt.member(self.dealer)?,
            self.attempt.member(self.holder)?,
        );
        let seq = le64(self.attempt.announcement().seq);
        let parts: [&[u8]; 4] = [dealer.id.0.as_ref(), holder.id.0.as_ref(), &seq, self.nonce];
        Ok(expand(round_key.expose(), labels::SHARE, &parts).into())
    }

    /// `aad(i→c) = H("share-aad", ann_hash, id_i, id_c, commit_core_i)`.
    pub(crate) fn aad(&self) -> Result<Digest, Error> {
        let (dealer, holder) = (
            self.attempt.member(self.dealer)?,
            self.attempt.member(self.holder)?,
        );
        let parts: [&[u8]; 4] = [
            &self.attempt.hash().0,
            dealer.id.0.as_ref(),
            holder.id.0.as_ref(),
            &self.core.0,
        ];
        Ok(hash(labels::SHARE_AAD, &parts))
    }

    /// Seals `f_b(x) ‖ f_K(x)`.
    pub(crate) fn seal(
        &self,
        round_key: &Seed,
        pair: &[u8; 64],
    ) -> Result<[u8; CIPHERTEXT_BYTES], Error> {
        let sealed = seal(&self.key(round_key)?, &self.aad()?.0, pair);
        Ok(sealed.try_into().expect("64 bytes and a tag of 16"))
    }

    /// Opens a sealed pair; `None` if it is not what the dealer sealed for this holder.
    pub(crate) fn open(
        &self,
        round_key: &Seed,
        ciphertext: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Ok(open(&self.key(round_key)?, &self.aad()?.0, ciphertext))
    }
}

/// ChaCha20-Poly1305 under a single-use key, nonce zero.
pub(crate) fn seal(key: &Seed, aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    cipher
        .encrypt(&Nonce::default(), Payload { msg: plain, aad })
        .expect("a message this short can always be sealed")
}

/// The inverse of [`seal`].
pub(crate) fn open(key: &Seed, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = ChaCha20Poly1305::new(key.expose().into());
    cipher
        .decrypt(&Nonce::default(), Payload { msg: sealed, aad })
        .ok()
        .map(Zeroizing::new)
}
