//! Survivor sets and their certificates: one set per attempt, signed by t distinct holders, large enough around every site.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::context::Attempt;
use crate::coordinator;
use crate::error::{Error, Fault};
use crate::holder::Attested;
use crate::message::Cohort;
use crate::params::RunConfig;
use crate::tests::kit::adversary::{Values, joined};
use crate::tests::kit::{self, Round, World};
use crate::{Bitmap, Certificate, Digest, labels};

/// Whom each of five honest holders is told to have dropped out: every honest set keeps the rules of section 10.
const TOLD: [&[u32]; 5] = [&[2, 3], &[2, 3], &[2, 4], &[3, 4], &[4]];
/// They sign and release whatever the coordinator wants.
const CORRUPT: [u32; 2] = [5, 6];
/// Whom the coordinator wants the sum of: two honest sites and the corrupt ones, one fewer than the rules allow.
const WANTED: [u32; 4] = [0, 1, 5, 6];

/// The coordinator shows a set to each holder, with the best certificate that there is of it. Those that `accept` it release.
fn scattered(
    round: &Round<'_>,
    cohort: &Cohort,
    accept: impl Fn(&Certificate) -> bool,
) -> Result<Values, Error> {
    let uploads = round.uploads(cohort, 0..7);
    let of = |dropped: &[u32]| {
        let kept = uploads.values().map(|upload| upload.item);
        kept.filter(|item| !dropped.contains(&item.index))
            .collect::<Vec<_>>()
    };
    let shown = |told: &[u32]| round.propose(cohort, &of(told)).unwrap();
    let signs = |h: u32, told: &[u32]| round.attest(h, cohort, &shown(told), &of(told));
    let mut lists = BTreeMap::new();
    for (h, told) in (0..).zip(TOLD) {
        let alike = (0..).zip(TOLD).filter(|(_, other)| *other == told);
        let honest = alike.map(|(h, _)| signs(h, told).attestation(round.identity(h)));
        let corrupt = CORRUPT.map(|h| {
            let signed: Attested = round.blind(h, cohort, &shown(told));
            signed.attestation(round.identity(h))
        });
        let signed: Vec<_> = honest.chain(corrupt).collect();
        if accept(&kit::certificate_of(&signed)) {
            lists.insert(h, round.freed(h, cohort, &shown(told)));
        }
    }
    let wanted = round.any_proposal(cohort, &of(&[2, 3, 4]));
    for h in CORRUPT {
        lists.insert(h, round.freed(h, cohort, &wanted));
    }
    let survivors = Bitmap::of(7, WANTED);
    let unmasked = coordinator::unmask(&round.attempt, cohort, &survivors, &round.commits, &lists)?;
    Ok(round.sum(&uploads, &survivors, &unmasked.masks))
}

/// Signatures that are valid, each as often as it comes.
fn valid_signatures(attempt: &Attempt, certificate: &Certificate) -> usize {
    let digest = certificate.digest.0;
    let valid = |(position, signature): &&(u32, crate::keys::Signature)| {
        let key = attempt.holder_key(*position).unwrap();
        key.verifies(signature, labels::SIG_SURVIVORS, &[&digest])
    };
    certificate.signatures.iter().filter(valid).count()
}

const NOTHING: Result<Values, Error> = Err(Error::BelowThreshold { have: 2, need: 5 });

#[test]
fn t01_without_one_set_per_holder_a_site_loses_both_secrets_and_its_update() {
    let world = World::new(4);
    let mut round = world.open();
    let cohort = round.commit_all();
    let items = round.items(&cohort, 0..4);
    let secrets = [&items[..], &items[1..]].map(|kept| {
        let (_, lists) = round.lists_by(&cohort, kept, 1..4); // the same three holders, as if nothing were on record
        joined(lists.values(), 0)
    });
    assert_eq!(round.exposed(0, &cohort, &secrets), round.hidden(0));
}

#[test]
fn t02_without_a_certificate_a_sum_comes_out_that_no_holder_signed() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let certified = |shown: &Certificate| {
        shown
            .certify_survivors(&round.attempt, shown.digest)
            .is_ok()
    };
    assert_eq!(scattered(&round, &cohort, certified), NOTHING);
    assert_eq!(
        scattered(&round, &cohort, |_| true),
        Ok(round.plain(&Bitmap::of(7, WANTED))),
        "less the corrupt sites' own updates it is the sum of two"
    );
}

#[test]
fn t03_without_counting_signers_once_a_sum_comes_out_that_no_t_holders_signed() {
    let world = World::new(7);
    let mut round = world.open();
    let cohort = round.commit_all();
    let padded = |shown: &Certificate| Certificate {
        digest: shown.digest,
        signatures: shown.signatures.repeat(2),
    };
    let certified = |shown: &Certificate| {
        padded(shown)
            .certify_survivors(&round.attempt, shown.digest)
            .is_ok()
    };
    assert_eq!(scattered(&round, &cohort, certified), NOTHING);
    let counted = |shown: &Certificate| valid_signatures(&round.attempt, &padded(shown)) >= 5;
    assert_eq!(
        scattered(&round, &cohort, counted),
        Ok(round.plain(&Bitmap::of(7, WANTED)))
    );
}

/// What the holders of one attempt signed.
struct Signed {
    attempt: Arc<Attempt>,
    survivors: Certificate,
    abort: Certificate,
    roster: Certificate,
}

impl Signed {
    fn of(mut round: Round<'_>) -> Self {
        let (world, n) = (round.world, round.world.roster.len());
        let cohort = round.commit_all();
        let items = round.items(&cohort, 0..n);
        let proposal = round.propose(&cohort, &items).unwrap();
        let attested = (0..n).map(|h| (h, round.attest(h, &cohort, &proposal, &items)));
        let aborts = (0..n).map(|h| round.idle(h).abort().attestation(round.identity(h)));
        let confirmed = (0..n).map(|i| world.roster.confirm(&world.site(i).identity).unwrap());
        Self {
            survivors: kit::certificate_of(&round.attestations(&attested.collect())),
            abort: Certificate {
                digest: round.attempt.hash(),
                signatures: aborts.map(|a| (a.position, a.signature)).collect(),
            },
            roster: Certificate {
                digest: world.roster.ctx(),
                signatures: confirmed.map(|c| (c.index, c.signature)).collect(),
            },
            attempt: round.attempt,
        }
    }

    fn certify(&self, which: &Certificate, label: &str) -> Result<Digest, Error> {
        let attempt = &self.attempt;
        match label {
            "survivors" => which
                .certify_survivors(attempt, self.survivors.digest)
                .map(|proof| proof.digest()),
            "abort" => which.certify_abort(attempt).map(|proof| proof.ann_hash()),
            _ => which
                .certify_roster(attempt.roster())
                .map(|proof| proof.epoch_ctx()),
        }
    }
}

#[test]
fn t04_a_certificate_of_another_attempt_round_epoch_or_run_is_refused() {
    let (world, next) = (World::new(5), World::with(5, kit::config(5), 2));
    let another_run = RunConfig {
        run_id: [1; 16],
        ..kit::config(5)
    };
    let elsewhere = World::with(5, another_run, 1);
    let here = Signed::of(world.open());
    let others = [
        ("attempt", Signed::of(world.open_changed(|a| a.seq = 2))),
        ("round", Signed::of(world.open_changed(|a| a.round = 2))),
        ("epoch", Signed::of(next.open())),
        ("run", Signed::of(elsewhere.open())),
    ];
    for (what, there) in &others {
        let pairs = [
            ("survivors", &here.survivors, &there.survivors),
            ("abort", &here.abort, &there.abort),
            ("roster", &here.roster, &there.roster),
        ];
        let one_epoch = ["attempt", "round"].contains(what);
        for (kind, own, foreign) in pairs {
            assert_eq!(
                here.certify(own, kind),
                Ok(own.digest),
                "{kind}: the control"
            );
            if kind == "roster" && one_epoch {
                continue; // it is the same roster
            }
            let refused = Err(Fault::Context("digest").by_coordinator());
            assert_eq!(here.certify(foreign, kind), refused, "{kind}, other {what}");
            let relabelled = Certificate {
                digest: own.digest,
                ..foreign.clone()
            };
            let refused = Err(Fault::Signature("certified digest").by_coordinator());
            assert_eq!(here.certify(&relabelled, kind), refused, "{kind}, {what}");
        }
    }
}

#[test]
fn t04_without_comparing_the_digest_an_old_certificate_frees_any_sum() {
    let world = World::new(7);
    let old = Signed::of(world.open());
    let mut round = world.open_changed(|a| a.seq = 2);
    let cohort = round.commit_all();
    let compared = |shown: &Certificate| {
        old.survivors
            .certify_survivors(&round.attempt, shown.digest)
            .is_ok()
    };
    assert_eq!(scattered(&round, &cohort, compared), NOTHING);
    let genuine = |_: &Certificate| old.certify(&old.survivors, "survivors").is_ok();
    assert_eq!(
        scattered(&round, &cohort, genuine),
        Ok(round.plain(&Bitmap::of(7, WANTED)))
    );
}
