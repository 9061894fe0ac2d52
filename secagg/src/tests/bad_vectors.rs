//! Messages of the reference that are wrong in one thing: each is refused with the fault, and the culprit, that its file names.

use serde_json::Value;

use super::fixture::Fixture;
use crate::context::{Attempt, Roster};
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::holder::{Idle, OpenedShares};
use crate::keys::{ExchangeKey, Signature, VerifyKey};
use crate::message::{
    Cohort, Commit, NeighbourKey, Neighbourhood, ShareItem, SurvivorItem, SurvivorProposal,
    UnmaskList, UploadTrailer,
};
use crate::shamir::SecretScalar;
use crate::{Bitmap, Certificate, Digest, ring};

/// A message of a vector file; fields are read by name.
#[derive(Clone, Copy)]
struct Message<'a>(&'a Value);

impl<'a> Message<'a> {
    fn bytes(self, name: &str) -> Vec<u8> {
        unhex(&self.0[name])
    }

    fn array<const N: usize>(self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    fn digest(self, name: &str) -> Digest {
        Digest(self.array(name))
    }

    fn signature(self, name: &str) -> Signature {
        Signature(self.array(name))
    }

    fn number(self, name: &str) -> u32 {
        u32::try_from(self.0[name].as_u64().unwrap()).unwrap()
    }

    fn set(self, name: &str) -> Bitmap {
        Bitmap::parse(5, &self.bytes(name)).unwrap()
    }

    fn key(self, name: &str) -> ExchangeKey {
        ExchangeKey::parse(self.array(name), "mask key").unwrap()
    }

    fn each<T>(self, name: &str, read: impl Fn(Message<'a>) -> T) -> Vec<T> {
        self.0[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| read(Message(value)))
            .collect()
    }

    fn digests(self, name: &str) -> Vec<Digest> {
        self.each(name, |hash| Digest(unhex(hash.0).try_into().unwrap()))
    }

    fn cohort(self, attempt: &Attempt) -> Cohort {
        Cohort {
            ann_hash: attempt.hash(),
            members: self.set("cohort"),
            root: self.digest("root"),
        }
    }

    fn commit(self) -> Commit {
        let ciphertext = |value: Message<'_>| unhex(value.0).try_into().ok();
        Commit {
            ann_hash: self.digest("ann_hash"),
            nonce: self.array("nonce"),
            e_pk: self.key("e_pk"),
            com_b: self.digest("com_b"),
            com_k: self.digest("com_k"),
            share_list: self
                .bytes("share_list")
                .chunks_exact(64)
                .map(|pair| pair.try_into().unwrap())
                .collect(),
            blob: self.array("blob"),
            ciphertexts: self.each("ciphertexts", ciphertext),
            sig_maskkey: self.signature("sig_maskkey"),
            sig_commit: self.signature("sig_commit"),
        }
    }

    fn share_item(self) -> ShareItem {
        ShareItem {
            index: self.number("index"),
            nonce: self.array("nonce"),
            e_pk: self.key("E"),
            com_b: self.digest("com_b"),
            com_k: self.digest("com_k"),
            ciphertext: self.bytes("ct").try_into().ok(),
            pair: self.array("pair"),
            path: self.digests("path"),
        }
    }

    fn neighbour(self) -> NeighbourKey {
        NeighbourKey {
            index: self.number("index"),
            nonce: self.array("nonce"),
            e_pk: self.key("e_pk"),
            sig_maskkey: self.signature("sig_maskkey"),
        }
    }

    fn survivor(self) -> SurvivorItem {
        SurvivorItem {
            index: self.number("index"),
            upload_hash: self.digest("upload_hash"),
            signature: self.signature("sig"),
        }
    }
}

fn unhex(value: &Value) -> Vec<u8> {
    let digit = |d: u8| u8::try_from(char::from(d).to_digit(16).unwrap()).unwrap();
    value
        .as_str()
        .unwrap()
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// What went wrong, as the files spell it: the fault alone, or an error without one.
fn named(error: &Error) -> (String, Value) {
    match error {
        Error::PeerMisbehaved { culprit, fault } => {
            (format!("{fault:?}"), culprit.to_string().into())
        }
        other => (format!("{other:?}"), Value::Null),
    }
}

fn parser(fault: Fault) -> (String, Value) {
    (format!("{fault:?}"), Value::Null)
}

/// Runs the named check; `None` if the message was accepted.
fn refusal(check: &str, m: Message<'_>) -> Option<(String, Value)> {
    let in_context = match check {
        "exchange_key" => {
            return ExchangeKey::parse(m.array("bytes"), "mask key")
                .err()
                .map(parser);
        }
        "identity_key" => return VerifyKey::parse(m.array("bytes")).err().map(parser),
        "scalar" => return SecretScalar::parse(&m.array("bytes")).err().map(parser),
        "bitmap" => {
            return Bitmap::parse(m.number("size"), &m.bytes("bytes"))
                .err()
                .map(|error| parser(error.into()));
        }
        "chunk" => {
            let m_bits = u8::try_from(m.number("m")).unwrap();
            return ring::check_packed(&m.bytes("bytes"), m_bits, m.number("elements"))
                .err()
                .map(parser);
        }
        "roster" => roster,
        "announcement" => announcement,
        "commit" => commit,
        "cohort" => cohort,
        "shares" => shares,
        "survivors" => survivors,
        "certificate" => certificate,
        "trailer" => trailer,
        "unmask" => unmask,
        other => panic!("no check is named {other}"),
    };
    in_context(&Fixture::new(), m)
        .err()
        .map(|error| named(&error))
}

fn roster(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let mut advertisements = f.advertisements.clone();
    advertisements[m.number("index") as usize].x_pk = m.key("x_pk");
    Roster::new(f.roster.params().clone(), 1, &advertisements).map(drop)
}

fn announcement(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let mut announcement = Fixture::announcement(&f.roster);
    announcement.epoch_ctx = m.digest("epoch_ctx");
    announcement.holders = m.set("holders");
    announcement.threshold = m.number("threshold");
    Attempt::new(f.roster.clone(), announcement).map(drop)
}

fn commit(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    coordinator::check_commit(&f.attempt, m.number("index"), &m.commit()).map(drop)
}

fn cohort(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let near = Neighbourhood {
        own_path: m.digests("path"),
        keys: m.each("keys", Message::neighbour),
    };
    f.committed()
        .swap_remove(m.number("site") as usize)
        .accept(&m.cohort(&f.attempt), &near)
        .map(drop)
}

fn open(f: &Fixture, m: Message<'_>, items: &[ShareItem]) -> Result<OpenedShares, Error> {
    let holder = m.number("holder");
    let inbound = f.channels(holder).advance(&f.attempt, holder)?.1.inbound;
    let own = f.committed()[holder as usize].own_shares();
    OpenedShares::open(
        &f.attempt,
        holder,
        &inbound,
        own.as_ref(),
        &m.cohort(&f.attempt),
        items,
    )
}

fn shares(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    open(f, m, &m.each("items", Message::share_item)).map(drop)
}

fn survivors(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let (holder, entries) = (m.number("holder"), m.each("entries", Message::survivor));
    let opened = open(
        f,
        m,
        &coordinator::share_items(&f.attempt, &f.commits(), holder)?,
    )?;
    let (ctx, survivors) = (m.cohort(&f.attempt).ctx(), m.set("survivors"));
    let proposal = SurvivorProposal {
        ctx,
        survivors,
        upload_root: m.digest("upload_root"),
    };
    let listed = || {
        entries
            .iter()
            .find(|item| item.index == holder)
            .unwrap()
            .upload_hash
    };
    let own = if m.0.get("own_hash").is_some() {
        m.digest("own_hash")
    } else {
        listed()
    };
    let idle = Idle::new(f.attempt.clone(), holder)?;
    idle.judge(
        &m.cohort(&f.attempt),
        &opened,
        &proposal,
        &entries,
        Some((holder, own)),
    )
    .map(drop)
}

fn certificate(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let signatures = m.each("signatures", |entry| {
        (entry.number("position"), entry.signature("sig"))
    });
    let digest = m.digest("digest");
    Certificate { digest, signatures }
        .certify_survivors(&f.attempt, digest)
        .map(drop)
}

fn trailer(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let (metadata, chunk_root, signature) = (
        m.bytes("metadata"),
        m.digest("chunk_root"),
        m.signature("sig"),
    );
    let trailer = UploadTrailer {
        metadata,
        chunk_root,
        signature,
    };
    coordinator::check_trailer(
        &f.attempt,
        &m.cohort(&f.attempt),
        m.number("index"),
        &chunk_root,
        &trailer,
    )
    .map(drop)
}

fn unmask(f: &Fixture, m: Message<'_>) -> Result<(), Error> {
    let digest = m.digest("digest");
    let list = UnmaskList {
        digest,
        position: m.number("position"),
        present: m.set("present"),
        scalars: m
            .digests("scalars")
            .into_iter()
            .map(|scalar| scalar.0)
            .collect(),
        signature: m.signature("sig"),
    };
    coordinator::check_unmask(
        &f.attempt,
        &m.cohort(&f.attempt),
        &digest,
        m.number("holder"),
        &list,
    )
}

macro_rules! refused {
    ($($name:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            let file = include_str!(concat!("../../tests/vectors/silo_bad_", stringify!($name), ".json"));
            let vector: Value = serde_json::from_str(file).unwrap();
            let found = refusal(vector["check"].as_str().unwrap(), Message(&vector["message"]));
            let (fault, culprit) = found.expect("it must be refused");
            assert_eq!(vector["fault"], fault, "{}", vector["wrong"]);
            assert_eq!(vector["culprit"], culprit, "{}", vector["wrong"]);
        }
    )* };
}

refused!(
    announcement_epoch,
    announcement_holders,
    announcement_threshold,
    bitmap_length,
    bitmap_unused_bit,
    certificate_abort,
    certificate_repeated_signer,
    certificate_short,
    chunk_length,
    chunk_padding,
    cohort_mask_key,
    cohort_missing_key,
    cohort_root,
    cohort_small,
    commit_announcement,
    commit_blob,
    commit_ciphertext,
    commit_copied,
    commit_mask_key,
    commit_share_list,
    commit_short_list,
    exchange_key_high_bit,
    exchange_key_not_reduced,
    exchange_key_small_order,
    identity_key_not_reduced,
    identity_key_small_order,
    roster_channel_key,
    scalar_not_canonical,
    shares_missing,
    shares_pair,
    shares_path,
    survivors_few,
    survivors_other_context,
    survivors_own_upload,
    survivors_root,
    trailer_lane,
    trailer_metadata,
    unmask_position,
    unmask_scalar,
    unmask_short,
);
