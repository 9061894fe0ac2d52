//! One value of each kind, with every byte of it different enough that two swapped fields are noticed.

use veilsum_secagg::keys::{BindingClaim, ExchangeKey, Identity, Seed, Signature, VerifyKey};
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Announcement, Attestation, Cohort, Commit, NeighbourKey,
    Neighbourhood, Receipt, RosterConfirmation, RoundResult, ShareItem, SurvivorItem,
    SurvivorProposal, UnmaskList, UploadHeader, UploadTrailer,
};
use veilsum_secagg::{Bitmap, Certificate, Digest};

use super::Signed;
use super::round::Finished;

/// Members of the roster that the samples are about.
pub const ROSTER: u32 = 11;

fn d(n: u8) -> Digest {
    Digest([n; 32])
}

fn sig(n: u8) -> Signature {
    Signature([n; 64])
}

fn some(members: &[u32]) -> Bitmap {
    Bitmap::of(ROSTER, members.iter().copied())
}

pub fn identity_key(n: u8) -> VerifyKey {
    Identity::from_seed(&Seed::new([n; 32])).public()
}

pub fn exchange_key(n: u8) -> ExchangeKey {
    ExchangeKey::parse([n; 32], "sample").unwrap()
}

pub fn advertisement() -> Advertisement {
    Advertisement {
        run_hash: d(1),
        epoch: 2,
        id_pk: identity_key(3),
        x_pk: exchange_key(4),
        binding: BindingClaim {
            organisation: "Clinic".into(),
            site: "north".into(),
            not_before: 5,
            not_after: 6,
        },
        binding_scheme: 0x0403,
        binding_signature: vec![7; 70],
        chain: vec![vec![8; 300], vec![9; 200]],
        nonce_commit: d(10),
        signature: sig(11),
    }
}

pub fn confirmation() -> RosterConfirmation {
    RosterConfirmation {
        epoch_ctx: d(1),
        index: 2,
        signature: sig(3),
    }
}

pub fn certificate() -> Certificate {
    Certificate {
        digest: d(1),
        signatures: vec![(2, sig(3)), (4, sig(5))],
    }
}

pub fn announcement() -> Signed<Announcement> {
    let value = Announcement {
        epoch_ctx: d(1),
        round: 2,
        seq: 3,
        retry_of: d(0),
        model_hash: d(4),
        prev_result_hash: d(5),
        roundcfg_hash: d(6),
        holders: some(&[0, 2, 10]),
        threshold: 7,
        commit_by_ms: 8,
        submit_by_ms: 9,
        expires_ms: 10,
    };
    Signed {
        value,
        signature: sig(11),
    }
}

pub fn commit() -> Commit {
    Commit {
        ann_hash: d(1),
        nonce: [2; 32],
        e_pk: exchange_key(3),
        com_b: d(4),
        com_k: d(5),
        share_list: vec![[6; 64], [7; 64], [8; 64]],
        blob: [9; 48],
        ciphertexts: vec![Some([10; 80]), None, Some([11; 80])],
        sig_maskkey: sig(12),
        sig_commit: sig(13),
    }
}

pub fn cohort() -> Signed<Cohort> {
    Signed {
        value: Cohort {
            ann_hash: d(1),
            members: some(&[1, 9]),
            root: d(2),
        },
        signature: sig(3),
    }
}

pub fn neighbourhood() -> Neighbourhood {
    let key = |n: u8| NeighbourKey {
        index: n.into(),
        nonce: [n; 32],
        e_pk: exchange_key(n + 1),
        sig_maskkey: sig(n + 2),
    };
    Neighbourhood {
        own_path: vec![d(1), d(2)],
        keys: vec![key(3), key(6)],
    }
}

pub fn share_item() -> ShareItem {
    ShareItem {
        index: 1,
        nonce: [2; 32],
        e_pk: exchange_key(3),
        com_b: d(4),
        com_k: d(5),
        ciphertext: Some([6; 80]),
        pair: [7; 64],
        path: vec![d(8), d(9), d(10)],
    }
}

pub fn upload_header() -> UploadHeader {
    UploadHeader {
        ctx: d(1),
        elements: 2_410,
        ring_bits: 19,
        chunk_elems: 1 << 18,
    }
}

pub fn upload_trailer() -> UploadTrailer {
    UploadTrailer {
        metadata: vec![1; 24],
        chunk_root: d(2),
        signature: sig(3),
    }
}

pub fn receipt() -> Signed<Receipt> {
    Signed {
        value: Receipt {
            ctx: d(1),
            upload_hash: d(2),
            time_ms: 3,
        },
        signature: sig(4),
    }
}

pub fn proposal() -> Signed<SurvivorProposal> {
    Signed {
        value: SurvivorProposal {
            ctx: d(1),
            survivors: some(&[3, 4]),
            upload_root: d(2),
        },
        signature: sig(3),
    }
}

pub fn survivor_item() -> SurvivorItem {
    SurvivorItem {
        index: 1,
        upload_hash: d(2),
        signature: sig(3),
    }
}

pub fn attestation() -> Attestation {
    Attestation {
        digest: d(1),
        position: 2,
        signature: sig(3),
        complaints: some(&[10]),
        sig_complaint: sig(4),
    }
}

pub fn unmask_list() -> UnmaskList {
    UnmaskList {
        digest: d(1),
        position: 2,
        present: some(&[5, 7]),
        scalars: vec![[3; 32], [4; 32]],
        signature: sig(5),
    }
}

pub fn abort_attestation() -> AbortAttestation {
    AbortAttestation {
        ann_hash: d(1),
        position: 2,
        signature: sig(3),
    }
}

pub fn finished() -> Finished {
    let value = RoundResult {
        ctx: d(1),
        digest: d(2),
        survivors: 3,
        sum_hash: d(4),
        metadata: vec![5; 16],
        next_model_hash: d(6),
    };
    let result = Signed {
        value,
        signature: sig(7),
    };
    Finished {
        round: 8,
        epoch: 9,
        seq: 10,
        result,
        certificate: certificate(),
    }
}
