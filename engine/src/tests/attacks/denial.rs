//! A participant that says things twice, or says other things the second time: what a coordinator would make of it that did not mind.

use veilsum_secagg::{Digest, coordinator};

use super::super::kit::{Federation, Kind, Sum, announcement_of, initial_model, stripped};
use super::{finish, last_sum, tell, uploaded};

/// T-33: the second upload lies under the name of the first, which everybody has signed for.
#[test]
fn t33_without_keeping_the_first_upload_a_site_changes_its_input_after_the_holders_signed() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    let copy = fed.sites[4].twin();
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    tell(&mut fed);
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    let round = fed.round();
    assert!(round.certificate().is_some());
    let near = coordinator::neighbourhood(round.attempt(), round.commits(), 4).unwrap();
    let masking = copy.machine.masking(&near).unwrap();
    let mut poisoned = fed.sites[4].contributed[&announcement_of(&fed).model_hash]
        .elements
        .clone();
    poisoned[0] += 1000;
    let signed_for = round.uploads()[&4].blob.digest;
    fed.hub
        .blobs
        .insert(signed_for, masking.chunk(0, &poisoned));
    tell(&mut fed);
    fed.act(Kind::Unmask);
    let plain = fed.plain(&Digest::of_bulk(&initial_model()), 0..5);
    let known = last_sum(&fed).less(&plain);
    assert_eq!(known.elements[0], 1000, "nobody signed for that");
    assert!(known.elements[1..].iter().all(|element| *element == 0));
}

/// T-48: an upload that comes again is counted again.
#[test]
fn t48_without_knowing_a_repeated_call_again_the_sum_is_noise() {
    let mut fed = uploaded(5);
    let uploads: Vec<_> = (fed.round().uploads().values())
        .map(|upload| {
            (
                fed.hub.blobs[&upload.blob.digest].clone(),
                upload.metadata.clone(),
            )
        })
        .collect();
    let mut counted: Vec<_> = uploads
        .iter()
        .map(|(bytes, metadata)| (&bytes[..], &metadata[..]))
        .collect();
    let plain: Sum = finish(&mut fed);
    let round = fed.round();
    let masks = coordinator::unmask(
        round.attempt(),
        round.cohort().unwrap(),
        &round.proposal().unwrap().survivors,
        round.commits(),
        round.lists(),
    );
    let masks = masks.unwrap().masks;
    assert_eq!(stripped(&fed.hub.spec, &counted, &masks), plain);
    counted.push(counted[0]);
    let noise = stripped(&fed.hub.spec, &counted, &masks).less(&plain);
    let far = |element: &i64| element.abs() > 1000;
    assert!(
        noise.elements.iter().filter(|element| far(element)).count() > 6,
        "{noise:?}"
    );
}
