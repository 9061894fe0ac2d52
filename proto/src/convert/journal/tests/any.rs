//! Any value of what an entry is made of, and any event of each kind.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use veilsum_common::blob::BlobRef;
use veilsum_common::ids::SiteName;
use veilsum_common::time::Timestamp;
use veilsum_engine::plan::Fold;
use veilsum_engine::rejection::Abort;
use veilsum_engine::round::{Computed, Decline, Loss, Outcome, Published, Upload};
use veilsum_engine::{epoch, participant, round, run};
use veilsum_secagg::checksum::Checksum;
use veilsum_secagg::holder::Verdict;
use veilsum_secagg::keys::{
    BindingClaim, ExchangeKey, Identity, MemberId, Seed, Signature, VerifyKey,
};
use veilsum_secagg::message::{
    AbortAttestation, Advertisement, Announcement, Attestation, Cohort, Commit, Receipt,
    RosterConfirmation, RoundResult, SurvivorItem, SurvivorProposal, UnmaskList,
};
use veilsum_secagg::participant::Binding;
use veilsum_secagg::{Bitmap, Certificate, Digest};

use crate::convert::journal::reason::PARTS;
use crate::convert::journal::{EpochOpened, RoundOpened, RunCreated, SiteAccepted};

/// One strategy for each kind of event.
pub type Kinds<T> = Vec<BoxedStrategy<T>>;

pub fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

pub fn signature() -> impl Strategy<Value = Signature> {
    any::<[u8; 64]>().prop_map(Signature)
}

fn identity_key() -> impl Strategy<Value = VerifyKey> {
    any::<[u8; 32]>().prop_map(|seed| Identity::from_seed(&Seed::new(seed)).public())
}

fn exchange_key() -> impl Strategy<Value = ExchangeKey> {
    any::<[u8; 32]>().prop_filter_map("a key of small order", |mut bytes| {
        bytes[31] &= 0x7f;
        ExchangeKey::parse(bytes, "sample").ok()
    })
}

fn site() -> impl Strategy<Value = SiteName> {
    (0_u8..26, 0_u32..1000).prop_map(|(letter, number)| {
        format!("{}-{number}", char::from(b'a' + letter))
            .parse()
            .unwrap()
    })
}

fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect())
}

/// A name that a person is shown.
fn plain() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.chars().filter(|c| !c.is_control()).collect())
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=longest)
}

fn lanes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<[u8; 8]>(), 0..5).prop_map(|lanes| lanes.concat())
}

fn indices() -> impl Strategy<Value = Vec<u32>> {
    vec(any::<u32>(), 0..6)
}

fn liars() -> impl Strategy<Value = BTreeSet<u32>> {
    indices().prop_map(BTreeSet::from_iter)
}

fn blob() -> impl Strategy<Value = BlobRef> {
    (digest(), any::<u64>()).prop_map(|(digest, len_bytes)| BlobRef { digest, len_bytes })
}

/// A set over a roster of any size.
fn members() -> impl Strategy<Value = Bitmap> {
    vec(any::<bool>(), 0..=128).prop_map(|there| {
        let size = u32::try_from(there.len()).unwrap();
        Bitmap::of(
            size,
            (0..size)
                .zip(there)
                .filter(|(_, there)| *there)
                .map(|(index, _)| index),
        )
    })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    let signed = vec((any::<u32>(), signature()), 0..4);
    (digest(), signed).prop_map(|(digest, signatures)| Certificate { digest, signatures })
}

fn binding() -> impl Strategy<Value = Binding> {
    let claim = (plain(), plain(), any::<u64>(), any::<u64>());
    let claim = claim.prop_map(|(organisation, site, not_before, not_after)| BindingClaim {
        organisation,
        site,
        not_before,
        not_after,
    });
    (claim, any::<u16>(), bytes(72), vec(bytes(40), 0..=4)).prop_map(
        |(claim, scheme, signature, chain)| Binding {
            claim,
            scheme,
            signature,
            chain,
        },
    )
}

fn advertisement() -> impl Strategy<Value = Advertisement> {
    let keys = (identity_key(), exchange_key());
    let rest = (digest(), any::<u64>(), digest(), signature());
    (keys, binding(), rest).prop_map(|((id_pk, x_pk), binding, rest)| {
        let (run_hash, epoch, nonce_commit, signature) = rest;
        Advertisement {
            run_hash,
            epoch,
            id_pk,
            x_pk,
            binding: binding.claim,
            binding_scheme: binding.scheme,
            binding_signature: binding.signature,
            chain: binding.chain,
            nonce_commit,
            signature,
        }
    })
}

fn announcement() -> impl Strategy<Value = Announcement> {
    let hashes = (digest(), digest(), digest(), digest(), digest());
    let numbers = any::<[u64; 5]>();
    (hashes, numbers, members(), any::<u32>()).prop_map(|(hashes, numbers, holders, threshold)| {
        let (epoch_ctx, retry_of, model_hash, prev_result_hash, roundcfg_hash) = hashes;
        let [round, seq, commit_by_ms, submit_by_ms, expires_ms] = numbers;
        Announcement {
            epoch_ctx,
            round,
            seq,
            retry_of,
            model_hash,
            prev_result_hash,
            roundcfg_hash,
            holders,
            threshold,
            commit_by_ms,
            submit_by_ms,
            expires_ms,
        }
    })
}

fn ciphertext() -> impl Strategy<Value = Option<[u8; 80]>> {
    option::of(any::<[u8; 80]>())
}

fn commit() -> impl Strategy<Value = Commit> {
    let keys = (
        digest(),
        any::<[u8; 32]>(),
        exchange_key(),
        digest(),
        digest(),
    );
    let shares = (
        vec(any::<[u8; 64]>(), 0..3),
        any::<[u8; 48]>(),
        vec(ciphertext(), 0..3),
    );
    (keys, shares, signature(), signature()).prop_map(|(keys, shares, sig_maskkey, sig_commit)| {
        let (ann_hash, nonce, e_pk, com_b, com_k) = keys;
        let (share_list, blob, ciphertexts) = shares;
        Commit {
            ann_hash,
            nonce,
            e_pk,
            com_b,
            com_k,
            share_list,
            blob,
            ciphertexts,
            sig_maskkey,
            sig_commit,
        }
    })
}

fn cohort() -> impl Strategy<Value = Cohort> {
    (digest(), members(), digest()).prop_map(|(ann_hash, members, root)| Cohort {
        ann_hash,
        members,
        root,
    })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (digest(), digest(), any::<u64>()).prop_map(|(ctx, upload_hash, time_ms)| Receipt {
        ctx,
        upload_hash,
        time_ms,
    })
}

fn result() -> impl Strategy<Value = RoundResult> {
    let hashes = (digest(), digest(), digest(), digest());
    (hashes, any::<u64>(), lanes()).prop_map(|(hashes, survivors, metadata)| {
        let (ctx, digest, sum_hash, next_model_hash) = hashes;
        RoundResult {
            ctx,
            digest,
            survivors,
            sum_hash,
            metadata,
            next_model_hash,
        }
    })
}

fn attestation() -> impl Strategy<Value = Attestation> {
    (digest(), any::<u32>(), signature(), members(), signature()).prop_map(
        |(digest, position, signature, complaints, sig_complaint)| Attestation {
            digest,
            position,
            signature,
            complaints,
            sig_complaint,
        },
    )
}

/// Never more scalars than members: the machine would not admit it.
fn unmask_list() -> impl Strategy<Value = UnmaskList> {
    (
        digest(),
        any::<u32>(),
        members(),
        any::<[u8; 32]>(),
        signature(),
    )
        .prop_map(
            |(digest, position, present, scalar, signature)| UnmaskList {
                digest,
                position,
                scalars: vec![scalar; present.count() as usize],
                present,
                signature,
            },
        )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (digest(), members(), digest(), members(), members()).prop_map(
        |(ctx, survivors, upload_root, cohort, complaints)| Verdict {
            proposal: SurvivorProposal {
                ctx,
                survivors,
                upload_root,
            },
            cohort,
            complaints,
        },
    )
}

fn decline() -> impl Strategy<Value = Decline> {
    prop_oneof![
        Just(Decline::NotNow),
        Just(Decline::TrainerFailed),
        Just(Decline::UpdateRefused),
        Just(Decline::Policy),
        Just(Decline::Spent),
    ]
}

pub fn abort() -> impl Strategy<Value = Abort> {
    let numbers = || any::<(u32, u32)>();
    prop_oneof![
        numbers().prop_map(|(have, need)| Abort::RosterTooSmall { have, need }),
        numbers().prop_map(|(have, need)| Abort::RosterUnconfirmed { have, need }),
        numbers().prop_map(|(have, need)| Abort::TooFewOnline { have, need }),
        numbers().prop_map(|(have, need)| Abort::CohortTooSmall { have, need }),
        numbers().prop_map(|(have, need)| Abort::SurvivorsTooFew { have, need }),
        numbers().prop_map(|(have, need)| Abort::AttestationsTooFew { have, need }),
        indices().prop_map(|dealers| Abort::BadDealing { dealers }),
        numbers().prop_map(|(have, need)| Abort::ReleaseLost { have, need }),
        numbers().prop_map(|(have, need)| Abort::AbortUncertified { have, need }),
        any::<u32>().prop_map(|dealer| Abort::Dealer { dealer }),
        Just(Abort::BadSum),
        Just(Abort::NotFinite),
        Just(Abort::Unbalanced),
        any::<u64>().prop_map(|round| Abort::Unchanged { round }),
        (0..PARTS.len()).prop_map(|at| Abort::Diverged(PARTS[at])),
        Just(Abort::Cancelled),
    ]
}

fn published() -> impl Strategy<Value = Published> {
    let model = (result(), certificate(), blob());
    let sites = (any::<u64>(), any::<u32>(), vec(site(), 0..4), liars());
    (model, sites).prop_map(|((result, certificate, model), sites)| {
        let (opened_ms, cohort, dropped, liars) = sites;
        Published {
            result,
            certificate,
            model,
            opened_at: Timestamp(opened_ms),
            cohort,
            dropped,
            liars,
        }
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let aborted = (abort(), option::of(certificate()));
    prop_oneof![
        published().prop_map(|published| Outcome::Published(Box::new(published))),
        aborted.prop_map(|(reason, certificate)| Outcome::Aborted {
            reason,
            certificate,
        }),
        abort().prop_map(Outcome::Lost),
        loss().prop_map(Outcome::Spent),
    ]
}

pub fn loss() -> impl Strategy<Value = Loss> {
    let sites = (vec(site(), 0..4), option::of(site()));
    (abort(), sites).prop_map(|(reason, (missing, culprit))| Loss {
        reason,
        missing,
        culprit,
    })
}

pub fn run_created() -> impl Strategy<Value = RunCreated> {
    (blob(), blob(), "[0-9a-f-]{36}").prop_map(|(spec, model, request_id)| RunCreated {
        spec,
        model,
        request_id,
    })
}

pub fn epoch_opened() -> impl Strategy<Value = EpochOpened> {
    any::<u64>().prop_map(|epoch| EpochOpened { epoch })
}

pub fn round_opened() -> impl Strategy<Value = RoundOpened> {
    (
        announcement(),
        bytes(60),
        vec(certificate(), 0..=3),
        indices(),
    )
        .prop_map(
            |(announcement, round_config, abort_certificates, excluded)| RoundOpened {
                announcement,
                round_config,
                abort_certificates,
                excluded,
            },
        )
}

pub fn site_accepted() -> impl Strategy<Value = SiteAccepted> {
    (bytes(60), signature()).prop_map(|(run_spec, signature)| SiteAccepted {
        run_spec,
        signature,
    })
}

pub fn run_events() -> Kinds<run::Event> {
    use run::Event;
    let epoch_ended = prop_oneof![Just(Ok(())), abort().prop_map(Err)];
    vec![
        (any::<u64>(), epoch_ended)
            .prop_map(|(epoch, outcome)| Event::EpochEnded { epoch, outcome })
            .boxed(),
        (any::<u64>(), any::<u64>(), outcome())
            .prop_map(|(round, seq, outcome)| Event::RoundEnded {
                round,
                seq,
                outcome,
            })
            .boxed(),
        Just(Event::Cancelled).boxed(),
        "[0-9a-f-]{36}"
            .prop_map(|request_id| Event::Resumed { request_id })
            .boxed(),
    ]
}

pub fn epoch_events() -> Kinds<epoch::Event> {
    use epoch::Event;
    let confirmation = (digest(), any::<u32>(), signature());
    vec![
        (site(), advertisement())
            .prop_map(|(site, advertisement)| Event::Advertised {
                site,
                advertisement: Box::new(advertisement),
            })
            .boxed(),
        vec(digest().prop_map(MemberId), 0..5)
            .prop_map(|members| Event::RosterClosed { members })
            .boxed(),
        confirmation
            .prop_map(|(epoch_ctx, index, signature)| {
                Event::Confirmed(RosterConfirmation {
                    epoch_ctx,
                    index,
                    signature,
                })
            })
            .boxed(),
        indices()
            .prop_map(|members| Event::Certified { members })
            .boxed(),
        abort().prop_map(Event::Failed).boxed(),
    ]
}

fn upload() -> impl Strategy<Value = Upload> {
    let item = (any::<u32>(), digest(), signature());
    let rest = (blob(), vec(any::<u8>(), Checksum::BYTES), any::<u64>());
    (item, lanes(), rest).prop_map(|(item, metadata, (blob, checksum, at))| {
        let (index, upload_hash, signature) = item;
        Upload {
            item: SurvivorItem {
                index,
                upload_hash,
                signature,
            },
            metadata,
            blob,
            checksum: Checksum::from_bytes(&checksum.try_into().unwrap()),
            at: Timestamp(at),
        }
    })
}

fn computed() -> impl Strategy<Value = Computed> {
    (digest(), lanes(), blob(), liars()).prop_map(|(sum_hash, metadata, next_model, liars)| {
        Computed {
            sum_hash,
            metadata,
            next_model,
            liars,
        }
    })
}

pub fn round_events() -> Kinds<round::Event> {
    use round::Event;
    let abort_attestation = (digest(), any::<u32>(), signature());
    let abort_attestation =
        abort_attestation.prop_map(|(ann_hash, position, signature)| AbortAttestation {
            ann_hash,
            position,
            signature,
        });
    vec![
        (any::<u32>(), commit().prop_map(Box::new))
            .prop_map(|(index, commit)| Event::Committed { index, commit })
            .boxed(),
        (any::<u32>(), decline())
            .prop_map(|(index, why)| Event::Declined { index, why })
            .boxed(),
        members()
            .prop_map(|members| Event::CohortClosed { members })
            .boxed(),
        upload()
            .prop_map(|upload| Event::Uploaded(Box::new(upload)))
            .boxed(),
        members()
            .prop_map(|survivors| Event::SurvivorsClosed { survivors })
            .boxed(),
        (any::<u32>(), attestation().prop_map(Box::new))
            .prop_map(|(index, attestation)| Event::Attested { index, attestation })
            .boxed(),
        indices()
            .prop_map(|holders| Event::Certified { holders })
            .boxed(),
        (any::<u32>(), unmask_list().prop_map(Box::new))
            .prop_map(|(index, list)| Event::Unmasked { index, list })
            .boxed(),
        indices()
            .prop_map(|holders| Event::SharesClosed { holders })
            .boxed(),
        (any::<u32>(), any::<u64>(), digest())
            .prop_map(|(batch, part, digest)| Event::Folded {
                fold: Fold { batch, part },
                digest,
            })
            .boxed(),
        computed()
            .prop_map(|computed| Event::JobDone(Box::new(computed)))
            .boxed(),
        abort().prop_map(Event::AbortDecided).boxed(),
        (any::<u32>(), abort_attestation)
            .prop_map(|(index, attestation)| Event::AbortAttested { index, attestation })
            .boxed(),
        indices()
            .prop_map(|holders| Event::AbortCertified { holders })
            .boxed(),
        abort().prop_map(Event::Lost).boxed(),
    ]
}

fn contribution() -> impl Strategy<Value = participant::Contribution> {
    let hashes = (digest(), digest(), blob());
    (hashes, any::<u64>(), any::<u64>(), vec(any::<u64>(), 0..5)).prop_map(
        |((model_hash, roundcfg_hash, update), round, weight, metadata)| {
            participant::Contribution {
                round,
                model_hash,
                roundcfg_hash,
                update,
                weight,
                metadata,
            }
        },
    )
}

fn steps() -> Kinds<participant::Step> {
    use participant::Step;
    vec![
        decline().prop_map(Step::SatOut).boxed(),
        Just(Step::Committed).boxed(),
        Just(Step::Answered).boxed(),
        (cohort(), signature())
            .prop_map(|(cohort, signature)| Step::CohortSeen { cohort, signature })
            .boxed(),
        Just(Step::Submitting).boxed(),
        (receipt(), signature(), option::of((digest(), digest())))
            .prop_map(|(receipt, signature, parts)| Step::Received {
                receipt,
                signature,
                parts: parts.map(|(chunk_root, metadata_hash)| participant::UploadParts {
                    chunk_root,
                    metadata_hash,
                }),
            })
            .boxed(),
        verdict().prop_map(Step::Attested).boxed(),
        certificate().prop_map(Step::Released).boxed(),
        Just(Step::Delivered).boxed(),
        Just(Step::Expired).boxed(),
    ]
}

pub fn site_events() -> Kinds<participant::Event> {
    use participant::Event;
    let opened = (
        announcement(),
        signature(),
        bytes(60),
        vec(certificate(), 0..=3),
    );
    let mut kinds = vec![
        (any::<u64>(), binding().prop_map(Box::new))
            .prop_map(|(epoch, binding)| Event::Joined { epoch, binding })
            .boxed(),
        vec(advertisement(), 0..3)
            .prop_map(|advertisements| Event::Enrolled { advertisements })
            .boxed(),
        certificate().prop_map(Event::RosterCertified).boxed(),
        opened
            .prop_map(
                |(announcement, signature, round_config, proofs)| Event::Opened {
                    announcement: Box::new(announcement),
                    signature,
                    round_config,
                    proofs,
                },
            )
            .boxed(),
        contribution()
            .prop_map(|contribution| Event::Trained(Box::new(contribution)))
            .boxed(),
        (announcement(), signature())
            .prop_map(|(announcement, signature)| Event::AbortProposed {
                announcement: Box::new(announcement),
                signature,
            })
            .boxed(),
        digest()
            .prop_map(|model_hash| Event::Consented { model_hash })
            .boxed(),
        (any::<(u64, u64)>(), result(), certificate(), signature())
            .prop_map(|(place, result, certificate, signature)| Event::Finished {
                place,
                result: Box::new(result),
                certificate,
                signature,
            })
            .boxed(),
    ];
    kinds.extend(steps().into_iter().map(|step| {
        (digest(), step.prop_map(Box::new))
            .prop_map(|(ann_hash, step)| Event::Attempt { ann_hash, step })
            .boxed()
    }));
    kinds
}
