//! Attacks of the protocol, section 23, that need a site's machine and its ledger, and for each its control: the same attack on sites
//! that lack the one defence, with the harm it does. What one machine refuses at once is in [`super::hostile`].
//!
//! The coordinator here is the honest one with its hands free: it opens what its own machines would not open, keeps results to itself,
//! and shows each site what it likes. A site without a defence is the honest one too: it believes what its machine refuses, or a copy of
//! it knows nothing of what the other did.

mod cohorts;
mod dealers;
mod denial;
mod differences;
mod holders;
mod rosters;

use std::sync::Arc;

use veilsum_common::blob::BlobRef;
use veilsum_common::time::Timestamp;
use veilsum_secagg::context::Attempt;
use veilsum_secagg::message::Announcement;
use veilsum_secagg::{Bitmap, Certificate, Digest};

use super::kit::{Contributed, Federation, Kind, Stream, Sum, announcement_of, terms};
use crate::notice::{Notice, Position};
use crate::participant::{Event, Output, Step};
use crate::round::{Opening, Round};

/// The site whose update the coordinator is after.
const VICTIM: u32 = 0;

/// Everybody has masked and uploaded, and can open its shares.
fn uploaded(sites: u32) -> Federation {
    let mut fed = Federation::of(sites);
    fed.enrol();
    fed.commit();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed
}

/// Everybody has released, so the coordinator has the sum; no site has heard of a result.
fn released(sites: u32) -> (Federation, Sum) {
    let mut fed = uploaded(sites);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    fed.hear();
    fed.act(Kind::Unmask);
    let sum = last_sum(&fed);
    (fed, sum)
}

fn last_sum(fed: &Federation) -> Sum {
    fed.hub.sums.last().expect("a sum was had").sum.clone()
}

/// What a site put into the sum over a model, in clear.
fn own(fed: &Federation, site: u32, model: &Digest) -> Contributed {
    fed.sites[site as usize].contributed[model].clone()
}

/// A further attempt at the model of the open one, with times of its own.
fn further(fed: &Federation, round: u64, seq: u64) -> Announcement {
    let [commit_by, submit_by, expires] = terms(&fed.hub.spec).deadlines(fed.now);
    Announcement {
        round,
        seq,
        commit_by_ms: commit_by.0,
        submit_by_ms: submit_by.0,
        expires_ms: expires.0,
        ..announcement_of(fed)
    }
}

/// With another set of holders, and the threshold that belongs to it.
fn held_by(
    fed: &Federation,
    announcement: &mut Announcement,
    holders: impl IntoIterator<Item = u32>,
) {
    let n = announcement.holders.size();
    announcement.holders = Bitmap::of(n, holders);
    announcement.threshold = fed
        .hub
        .spec
        .params()
        .threshold(announcement.holders.count(), n);
}

/// The coordinator opens an attempt that its own machines would not open, beside the open one or after it. Gives the one before.
fn open_beside(
    fed: &mut Federation,
    announcement: &Announcement,
    proofs: &[Certificate],
) -> Stream<Round> {
    let before = fed.round();
    let roster = Arc::clone(before.attempt().roster());
    let sites: Vec<_> = (0..roster.len())
        .map(|index| before.site(index).unwrap().clone())
        .collect();
    let opening = Opening {
        round_config: fed.hub.spec.round_config_bytes(announcement.round),
        abort_certificates: proofs.to_vec(),
        excluded: Vec::new(),
    };
    let mut announcement = announcement.clone();
    announcement.roundcfg_hash = veilsum_secagg::params::round_config_hash(&opening.round_config);
    let (terms, at) = (terms(&fed.hub.spec), fed.now);
    let model = BlobRef::of(&fed.hub.blobs[&announcement.model_hash]);
    let mut next = fed.hub.round.as_ref().unwrap().0.clone();
    (next.round, next.seq, next.model) = (announcement.round, announcement.seq, model);
    let attempt = Arc::new(Attempt::new(roster, announcement).unwrap());
    let open = move || {
        let (attempt, sites) = (Arc::clone(&attempt), sites.clone());
        Round::open(terms.clone(), attempt, sites, opening.clone(), at)
    };
    let opened = (next, Stream::new(open, &fed.appends));
    fed.hub.round.replace(opened).expect("one was open").1
}

/// The coordinator goes on with another attempt, at which it left off. Gives the one before.
fn turn_to(fed: &mut Federation, round: Stream<Round>) -> Stream<Round> {
    let (_, open) = fed.hub.round.as_mut().expect("one was open");
    std::mem::replace(open, round)
}

/// All are told of the open attempt, and of nothing else: no result, no end of the run.
fn tell(fed: &mut Federation) {
    fed.tick();
    let round = fed.round();
    let cohort = round.cohort().cloned().map(Notice::CohortReady);
    let proposal = round.proposal().cloned().map(Notice::SurvivorProposal);
    let certificate = round.certificate().cloned().map(Notice::SurvivorsCertified);
    let (now, news) = (fed.now, [cohort, proposal, certificate]);
    let Federation { sites, hub, .. } = fed;
    for site in sites.iter_mut().filter(|site| site.online) {
        for notice in news.iter().flatten() {
            let heard = site.told(now, hub, Position::default(), notice.clone());
            site.note(heard);
        }
    }
}

/// The open attempt goes to its sum with these members alone.
fn carry_out(fed: &mut Federation, members: impl IntoIterator<Item = u32>) -> Sum {
    let members: Vec<u32> = members.into_iter().collect();
    for kind in [Kind::Train, Kind::Commit] {
        members.iter().for_each(|site| fed.act_at(*site, kind));
    }
    if fed.round().cohort().is_none() {
        fed.now = Timestamp(announcement_of(fed).commit_by_ms);
        fed.tick();
    }
    let cohort = fed.round().cohort().expect("they are enough");
    assert!(cohort.members.iter().eq(members.iter().copied()));
    tell(fed);
    members
        .iter()
        .for_each(|site| fed.act_at(*site, Kind::Upload));
    finish(fed)
}

/// What holders do once the uploads are in, to the sum.
fn finish(fed: &mut Federation) -> Sum {
    let before = fed.hub.sums.len();
    fed.act(Kind::OpenShares);
    tell(fed);
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    tell(fed);
    fed.act(Kind::Unmask);
    assert_eq!(fed.hub.sums.len(), before + 1, "a sum was had");
    last_sum(fed)
}

/// An event of the attempt with this announcement hash.
fn step_of(ann_hash: Digest, step: Step) -> Event {
    Event::Attempt {
        ann_hash,
        step: Box::new(step),
    }
}

fn abort_of(fed: &Federation, announcement: &Announcement) -> Event {
    Event::AbortProposed {
        announcement: Box::new(announcement.clone()),
        signature: announcement.sign(&fed.hub.identity),
    }
}

/// The certificate of the abort signatures that wait to be sent; their senders keep none.
fn abort_certificate(fed: &mut Federation, digest: Digest) -> Certificate {
    let taken = fed
        .sites
        .iter_mut()
        .filter_map(|site| site.take(Kind::Abort));
    let signatures = taken.map(|output| match output {
        Output::Abort(abort) => (abort.position, abort.signature),
        other => panic!("{other:?}"),
    });
    let signatures = signatures.collect();
    Certificate { digest, signatures }
}
