//! Dealers that seal what they did not commit to: who can show it, and to whom.

use veilsum_secagg::coordinator;
use veilsum_secagg::evidence::{CulpritKey, Evidence};
use veilsum_secagg::{Culprit, Fault};

use super::super::kit::{Federation, Kind};
use crate::participant::Output;
use crate::rejection::Rejection;

/// Five sites; the cohort is closed, and of it `dealer` sealed a wrong pair for `holder`.
fn cheated(dealer: u32, holder: u32) -> Federation {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.site(dealer).cheats = Some(holder);
    fed.act(Kind::Commit);
    fed.hear();
    fed
}

/// T-29: the holder that was cheated, and nobody else, proves it; the round goes on with the shares of the others.
#[test]
fn t29_a_holder_that_was_dealt_a_wrong_share_keeps_the_proof_and_the_round_completes() {
    let mut fed = cheated(1, 3);
    fed.settle();
    assert_eq!(
        fed.summed(),
        [0, 1, 2, 3, 4],
        "one complaint excludes nobody"
    );
    let culprit = CulpritKey::Member(fed.sites[1].identity.public());
    for site in &fed.sites {
        assert_eq!(site.refused, [], "{}", site.name);
        let kept: Vec<_> = site.kept.iter().map(Evidence::word).collect();
        let need: &[&str] = if site.index == 3 {
            &["wrong-share"]
        } else {
            &[]
        };
        assert_eq!(kept, need, "{}", site.name);
    }
    let conviction = fed.sites[3].kept[0].verify().unwrap();
    assert_eq!(
        (conviction.culprit, conviction.attempt),
        (culprit, Some((1, 1)))
    );
}

/// What was asked of the world is asked again, and the proof is the same.
#[test]
fn a_holder_that_restarts_before_its_proof_is_made_makes_it_afterwards() {
    let mut fed = cheated(1, 3);
    fed.act(Kind::Upload);
    fed.act(Kind::OpenShares);
    assert_eq!(fed.sites[3].asked(Kind::Accuse), 1);
    fed.site(3).reboot();
    assert_eq!(fed.sites[3].asked(Kind::Accuse), 0);
    fed.settle();
    assert_eq!(fed.sites[3].kept.len(), 1);
    assert!(fed.sites[3].kept[0].verify().is_ok());
}

/// T-29: ciphertexts are not under the cohort's root. A coordinator that spoils an honest one has a complaint, and not the key.
#[test]
fn t29_a_complaint_that_the_coordinator_provoked_gives_no_key_away() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.commit();
    let round = fed.round();
    let (attempt, commits) = (round.attempt().clone(), round.commits().clone());
    let mut items = coordinator::share_items(&attempt, &commits, 3).unwrap();
    items[1].ciphertext = Some([7; 80]);
    let site = fed.site(3);
    site.machine.open_shares(attempt.hash(), &items).unwrap();
    let asked = std::iter::from_fn(|| crate::machine::Machine::poll_output(&mut site.machine));
    let accused: Vec<_> = asked
        .filter_map(|output| match output {
            Output::Accuse(_, dealers) => Some(dealers),
            _ => None,
        })
        .collect();
    assert_eq!(accused, [[1]]);
    let shown = |dealer| {
        let proof = site
            .machine
            .wrong_share(attempt.hash(), dealer, &commits[&dealer]);
        proof.map(|proof| proof.word())
    };
    let altered = Fault::Root("share item").by_coordinator();
    assert_eq!(altered.culprits(), Some(Culprit::Coordinator));
    assert_eq!(shown(1), Err(Rejection::Protocol(altered)));
    let unasked = Rejection::OutOfPhase {
        what: "a commit record",
        phase: "without a complaint about its dealer",
    };
    assert_eq!(shown(2), Err(unasked), "nobody complained");
}
