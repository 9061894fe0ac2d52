//! Which secrets a site keeps, and until when: protocol, sections 4, 13 and 14.

use veilsum_common::blob::BlobRef;
use veilsum_common::time::Timestamp;
use veilsum_secagg::Digest;
use zeroize::Zeroizing;

use super::kit::{Federation, Kind, Setup, binding};
use crate::ledger::Duty;
use crate::machine::Machine;
use crate::participant::session::SessionPhase;
use crate::participant::{Contribution, Event, Step};

fn expiry(fed: &Federation) -> Timestamp {
    Timestamp(fed.round().attempt().announcement().expires_ms)
}

#[test]
fn an_attempt_leaves_nothing_behind_once_its_result_is_known() {
    let mut fed = Federation::of(5);
    fed.finish();
    for site in &fed.sites {
        assert_eq!(site.stored.keys().collect::<Vec<_>>(), ["epoch/1/channels"]);
        assert_eq!(site.machine.deadline(), None, "nothing is left to wait for");
    }
}

#[test]
fn every_secret_goes_as_soon_as_it_has_served() {
    let mut fed = Federation::of(5);
    fed.enrol();
    assert_eq!(
        fed.sites[0].secrets(),
        ["attempt/1/1/inbound", "attempt/1/1/outbound"]
    );
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let committed = ["attempt/1/1/inbound", "attempt/1/1/own", "attempt/1/1/seed"];
    assert_eq!(fed.sites[0].secrets(), committed, "the Commit was answered");
    fed.hear();
    fed.act(Kind::Upload);
    let received = ["attempt/1/1/inbound", "attempt/1/1/own"];
    assert_eq!(fed.sites[0].secrets(), received, "the receipt is there");
    fed.act(Kind::OpenShares);
    fed.hear();
    fed.act(Kind::Judge);
    fed.act(Kind::Attest);
    fed.hear();
    assert_eq!(
        fed.sites[0].secrets(),
        received,
        "until the list is delivered"
    );
    fed.act(Kind::Unmask);
    assert!(fed.sites[0].secrets().is_empty());
}

#[test]
fn at_expiry_a_site_gives_up_what_it_holds_whether_it_is_a_holder_or_not() {
    let mut fed = Federation::of(5);
    fed.settle_without(4, Kind::Confirm);
    fed.site(4).online = false; // so it is no holder of the attempt
    fed.wait();
    fed.site(4).online = true;
    for index in 0..5 {
        fed.site(index).silent.insert(Kind::Upload);
    }
    fed.settle();
    assert_eq!(fed.sites[4].machine.duty(), Duty::None);
    assert_eq!(fed.sites[4].secrets(), ["attempt/1/1/seed"]);
    fed.now = expiry(&fed);
    for site in &mut fed.sites {
        site.decide(fed.now);
        assert!(site.secrets().is_empty());
        assert_eq!(site.machine.session(), Some(SessionPhase::Over));
        site.restart_checked();
    }
    assert_eq!(fed.sites[0].machine.duty(), Duty::Aborted);
}

#[test]
fn at_expiry_a_released_list_that_nobody_took_is_given_up() {
    let mut fed = Federation::of(5);
    for index in 0..5 {
        fed.site(index).silent.insert(Kind::Unmask);
    }
    fed.settle();
    assert_eq!(fed.sites[0].machine.duty(), Duty::Released);
    fed.now = expiry(&fed);
    for site in &mut fed.sites {
        site.decide(fed.now);
        assert!(site.secrets().is_empty());
        site.restart_checked();
        assert_eq!(site.machine.duty(), Duty::Released, "it can never abort");
        assert_eq!(site.asked(Kind::OpenShares), 0);
    }
}

#[test]
fn a_cohort_without_this_site_ends_the_need_for_what_it_dealt() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    let now = fed.now;
    fed.site(0).step(now, Step::Committed).unwrap(); // and the Commit is lost on its way
    fed.settle_without(0, Kind::Commit);
    fed.site(0).pending.clear();
    for index in 1..5 {
        fed.site(index).silent.insert(Kind::Upload);
    }
    fed.wait();
    assert_eq!(fed.sites[0].machine.session(), Some(SessionPhase::Out));
    assert_eq!(fed.sites[0].secrets(), ["attempt/1/1/inbound"]);
    fed.site(0).restart_checked();
}

#[test]
fn a_fixed_cohort_ends_the_need_for_outbound_keys_even_if_the_answer_was_lost() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let site = fed.site(0);
    let (answered, rest): (Vec<_>, Vec<_>) = site.journal.drain(..).partition(is_answer);
    assert_eq!(answered.len(), 1);
    site.journal = rest;
    let keys = Zeroizing::new(vec![0; 36]);
    site.stored
        .insert(String::from("attempt/1/1/outbound"), keys);
    site.reboot();
    site.pending.clear();
    fed.hear();
    let left = ["attempt/1/1/inbound", "attempt/1/1/own", "attempt/1/1/seed"];
    assert_eq!(fed.sites[0].secrets(), left);
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

fn is_answer((_, event): &(Timestamp, Event)) -> bool {
    matches!(event, Event::Attempt { step, .. } if **step == Step::Answered)
}

/// A cohort is of the attempt's own roster, whatever epoch the site has joined since.
#[test]
fn a_cohort_is_read_by_the_roster_of_its_own_attempt() {
    let mut fed = Federation::of(5);
    fed.enrol();
    fed.act(Kind::Train);
    fed.act(Kind::Commit);
    let (now, binding) = (fed.now, Box::new(binding(&fed.sites[0].name)));
    let joined = Event::Joined { epoch: 2, binding };
    fed.site(0).submit(now, joined).unwrap();
    fed.site(0).pending.clear();
    fed.settle();
    assert_eq!(fed.summed(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_new_epoch_ends_the_old_ones_channels_and_no_entry_grows_with_the_run() {
    let mut fed = Federation::with(Setup {
        epoch_rounds: Some(3),
        ..Setup::of(4).rounds(7)
    });
    fed.finish();
    for site in &fed.sites {
        assert_eq!(site.stored.keys().collect::<Vec<_>>(), ["epoch/3/channels"]);
        assert!(site.most_ops <= 8, "{} changes of the vault", site.most_ops);
    }
}

#[test]
fn a_contribution_shows_neither_its_weight_nor_its_metrics_when_it_is_printed() {
    let contribution = Contribution {
        round: 7,
        model_hash: Digest::ZERO,
        roundcfg_hash: Digest::ZERO,
        update: BlobRef::of(b"update"),
        weight: 170_141,
        metadata: vec![170_142; 3],
    };
    let event = Event::Trained(Box::new(contribution));
    let printed = format!("{event:?}");
    assert!(!printed.contains("17014"), "{printed}");
    assert!(printed.contains("<3 lanes>"), "{printed}");
}
