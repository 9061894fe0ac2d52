//! One site in two cohorts: two vectors under one e and one b, and what they give away.

use veilsum_secagg::message::{Cohort, UploadTrailer};
use veilsum_secagg::participant::Masking;
use veilsum_secagg::ring::{centred, unpack};
use veilsum_secagg::{Bitmap, Digest, Fault, coordinator};

use super::super::kit::{Contributed, Federation, Kind, Site, Sum, announcement_of, stripped};
use super::{VICTIM, finish, own, step_of, tell};
use crate::participant::session::SessionPhase;
use crate::participant::{Event, Step};
use crate::rejection::Rejection;

/// In league with the coordinator: two of seven, which is n_C.
const CORRUPT: [u32; 2] = [5, 6];
/// Honest, and their uploads never come through: in the first cohort they are dropouts.
const DROPPED: [u32; 2] = [3, 4];

/// Seven sites that committed and know of no cohort yet; and copies of the corrupt ones, which forget nothing.
fn committed() -> (Federation, [Site; 2]) {
    let mut fed = Federation::of(7);
    fed.enrol();
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let corrupt = CORRUPT.map(|index| fed.sites[index as usize].twin());
    (fed, corrupt)
}

/// The first cohort goes to its sum without the two that are said to have dropped out; they and the corrupt ones are still there.
fn sum_without_the_dropped(fed: &mut Federation) {
    tell(fed);
    for site in DROPPED {
        fed.site(site).silent.insert(Kind::Upload);
    }
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    fed.now = fed.hub.deadline().expect("the uploads are waited for");
    finish(fed);
    assert_eq!(fed.summed(), [0, 1, 2, 5, 6]);
}

/// The cohort that only the victim is shown: itself, those that dropped out of the first one, and the corrupt ones.
fn second_cohort(fed: &Federation) -> Cohort {
    let round = fed.round();
    let commits = round.commits().clone().into_iter();
    let theirs = commits.filter(|(index, _)| members().any(|member| member == *index));
    coordinator::close_cohort(round.attempt(), &theirs.collect()).unwrap()
}

fn members() -> impl Iterator<Item = u32> {
    [VICTIM].into_iter().chain(DROPPED).chain(CORRUPT)
}

fn seen(fed: &Federation, cohort: &Cohort) -> Event {
    let signature = cohort.sign(&fed.hub.identity);
    let cohort = cohort.clone();
    step_of(cohort.ann_hash, Step::CohortSeen { cohort, signature })
}

/// The masks of a site under the cohort it was shown last.
fn masking(fed: &Federation, site: &Site, cohort: &Cohort) -> Masking {
    let round = fed.round();
    let mut commits = round.commits().clone();
    commits.retain(|index, _| cohort.members.contains(*index));
    let near = coordinator::neighbourhood(round.attempt(), &commits, site.index).unwrap();
    site.machine.masking(&near).unwrap()
}

fn upload(
    masking: &Masking,
    site: &Site,
    elements: &[i64],
    lanes: &[u64],
) -> (Vec<u8>, UploadTrailer) {
    let bytes = masking.chunk(0, elements);
    let root = [Digest::of_bulk(&bytes)];
    let (trailer, _) = masking.trailer(&site.identity, &root, lanes);
    (bytes, trailer)
}

/// What the coordinator makes of a second vector of the victim: the corrupt sites mask nothing under the same cohort, every b among the
/// three was released for the first cohort, and so was every e of those that dropped out of it.
fn exposed(
    fed: &Federation,
    cohort: &Cohort,
    second: (Vec<u8>, UploadTrailer),
    corrupt: [Site; 2],
) -> Sum {
    let params = fed.hub.spec.params().config();
    let zeros = vec![0; usize::try_from(params.elements).unwrap()];
    let no_lanes = vec![0; params.meta_lanes as usize];
    let mut uploads = vec![second];
    for mut site in corrupt {
        site.submit(fed.now, seen(fed, cohort)).unwrap();
        let masking = masking(fed, &site, cohort);
        uploads.push(upload(&masking, &site, &zeros, &no_lanes));
    }
    let (round, among) = (fed.round(), [VICTIM, CORRUPT[0], CORRUPT[1]]);
    let unmasked = coordinator::unmask(
        round.attempt(),
        cohort,
        &Bitmap::of(7, among),
        round.commits(),
        round.lists(),
    );
    let masks = unmasked.expect("one secret of each was released").masks;
    let uploads: Vec<_> = uploads
        .iter()
        .map(|(bytes, trailer)| (&bytes[..], &trailer.metadata[..]))
        .collect();
    stripped(&fed.hub.spec, &uploads, &masks)
}

/// The victim's contribution is all there is in this sum.
fn is_the_victims(fed: &Federation, sum: &Sum) {
    let victims = own(fed, VICTIM, &announcement_of(fed).model_hash);
    let Contributed { elements, lanes } = victims;
    assert_eq!(*sum, Sum { elements, lanes });
}

/// T-15: neither its upload nor its list is acknowledged, so the victim keeps what it could mask with once more; it is shown a second
/// cohort when the first has given its sum.
#[test]
fn t15_without_keeping_to_the_first_cohort_a_second_one_exposes_the_victims_update() {
    let (mut fed, corrupt) = committed();
    fed.site(VICTIM).slow_receipt = true;
    fed.site(VICTIM).silent.insert(Kind::Unmask);
    sum_without_the_dropped(&mut fed);
    let second = second_cohort(&fed);
    let (now, shown) = (fed.now, seen(&fed, &second));
    let refusal = fed.site(VICTIM).believe(now, shown);
    let twice = Fault::Equivocation("cohort").by_coordinator();
    assert_eq!(refusal, Rejection::Protocol(twice));
    fed.site(VICTIM).lose("attempt/1/1/near"); // nor keeps to the keys it was first masked with
    let victim = &fed.sites[VICTIM as usize];
    let numbers = own(&fed, VICTIM, &announcement_of(&fed).model_hash);
    let masking = masking(&fed, victim, &second);
    let again = upload(&masking, victim, &numbers.elements, &numbers.lanes);
    let sum = exposed(&fed, &second, again, corrupt);
    is_the_victims(&fed, &sum);
}

/// T-41: a copy whose secrets are the same, because they come from a counter or a clock, is shown the second cohort as its first.
#[test]
fn t41_without_fresh_randomness_a_copy_commits_alike_and_exposes_the_victims_update() {
    let mut fed = Federation::of(7);
    fed.enrol();
    fed.act(Kind::Train);
    let mut copy = fed.sites[VICTIM as usize].twin();
    fed.act(Kind::Commit);
    let corrupt = CORRUPT.map(|index| fed.sites[index as usize].twin());
    let now = fed.now;
    copy.step(now, Step::Committed).unwrap();
    let victim = &fed.sites[VICTIM as usize];
    assert_eq!(
        copy.machine.commit().unwrap(),
        fed.round().commits()[&VICTIM]
    );
    assert_eq!(
        victim.machine.session(),
        Some(SessionPhase::Committed { answered: true })
    );
    sum_without_the_dropped(&mut fed);
    let second = second_cohort(&fed);
    copy.submit(now, seen(&fed, &second)).unwrap();
    let numbers = own(&fed, VICTIM, &announcement_of(&fed).model_hash);
    let masking = masking(&fed, &copy, &second);
    let again = upload(&masking, &copy, &numbers.elements, &numbers.lanes);
    let sum = exposed(&fed, &second, again, corrupt);
    is_the_victims(&fed, &sum);
}

/// T-41: with randomness of its own the copy made another Commit, which is in no cohort; a copy made after it sends the same bytes.
#[test]
fn t41_a_copy_made_before_the_commit_masks_nothing_and_one_made_after_it_sends_the_same_bytes() {
    let mut fed = Federation::of(7);
    fed.enrol();
    fed.act(Kind::Train);
    let mut before = fed.sites[VICTIM as usize].twin();
    fed.act(Kind::Commit);
    let mut after = fed.sites[VICTIM as usize].twin();
    let (now, cohort) = (fed.now, fed.round().cohort().unwrap().clone());
    let numbers = {
        tell(&mut fed);
        fed.act(Kind::Upload);
        own(&fed, VICTIM, &announcement_of(&fed).model_hash)
    };
    let round = fed.round();
    let near = coordinator::neighbourhood(round.attempt(), round.commits(), VICTIM).unwrap();
    let shown = seen(&fed, &cohort);
    before.draws = 1; // the copy's operating system gives other bytes
    before.step(now, Step::Committed).unwrap();
    before.submit(now, shown.clone()).unwrap();
    let place = Fault::Root("place of this site's Commit in the cohort").by_coordinator();
    let refused = before.machine.masking(&near).err();
    assert_eq!(refused, Some(Rejection::Protocol(place)));
    after.submit(now, shown).unwrap();
    let again = upload(
        &masking(&fed, &after, &cohort),
        &after,
        &numbers.elements,
        &numbers.lanes,
    );
    assert_eq!(
        fed.witness.uploads_of(after.name.as_str()),
        [again.0.as_slice()]
    );
}

/// T-68: the upload is cut off, the file is changed, the upload goes on: one subtraction and both sets of masks are gone.
#[test]
fn t68_without_the_pin_a_changed_update_and_the_first_one_differ_in_clear() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    fed.site(VICTIM).slow_receipt = true;
    fed.act(Kind::Upload);
    let (now, cohort) = (fed.now, fed.round().cohort().unwrap().clone());
    let numbers = own(&fed, VICTIM, &announcement_of(&fed).model_hash);
    let site = fed.site(VICTIM);
    let mut changed = site.machine.contribution().unwrap().clone();
    changed.update.digest.0[0] ^= 1;
    let refusal = site.believe(now, Event::Trained(Box::new(changed)));
    assert_eq!(refusal, Rejection::Conflict("contribution to this model"));
    site.reboot();
    let mut others = numbers.clone();
    (0..)
        .zip(&mut others.elements)
        .for_each(|(k, element)| *element -= 100 * k);
    let site = &fed.sites[VICTIM as usize];
    let masked = upload(
        &masking(&fed, site, &cohort),
        site,
        &others.elements,
        &others.lanes,
    )
    .0;
    let first = fed.witness.uploads_of(site.name.as_str())[0];
    let params = fed.hub.spec.params();
    let (m, len) = (params.config().m, params.chunk_len(0));
    let mut difference = vec![0u64; len as usize];
    unpack(first, m, len, |k, value| difference[k] = value).unwrap();
    unpack(&masked, m, len, |k, value| {
        difference[k] = difference[k].wrapping_sub(value)
    })
    .unwrap();
    let seen: Vec<i64> = difference.iter().map(|value| centred(*value, m)).collect();
    let really = numbers.elements.iter().zip(&others.elements);
    assert_eq!(
        seen,
        really.map(|(one, other)| one - other).collect::<Vec<_>>()
    );
}
