use super::*;
use crate::tests::kit::{Federation, START, advertisement, advertisement_from, drain, seed, terms};
use veilsum_common::time::Span;

fn epoch(sites: u32) -> (Federation, Epoch) {
    let fed = Federation::of(sites);
    let epoch = Epoch::open(terms(&fed.hub.spec), 1, START);
    (fed, epoch)
}

fn join(fed: &Federation, index: usize) -> Event {
    let site = &fed.sites[index];
    Event::Advertised {
        site: site.name.clone(),
        advertisement: Box::new(advertisement(fed, index, 1)),
    }
}

fn take(epoch: &mut Epoch, event: Event) -> Result<(), Rejection> {
    epoch.admit(START, &event)?;
    epoch.handle(START, event)
}

const LATER: Timestamp = Timestamp(START.0 + 600_000);

#[test]
fn the_roster_is_fixed_when_all_have_joined_or_at_the_deadline_when_enough_have() {
    let (fed, mut epoch) = epoch(5);
    for index in 0..4 {
        take(&mut epoch, join(&fed, index)).unwrap();
    }
    assert_eq!(epoch.due(START), None);
    assert_eq!(epoch.deadline(), Some(LATER));
    let four = epoch.due(LATER).unwrap();
    assert!(matches!(&four, Event::RosterClosed { members } if members.len() == 4));
    take(&mut epoch, join(&fed, 4)).unwrap();
    let five = epoch.due(START).unwrap();
    assert!(matches!(&five, Event::RosterClosed { members } if members.len() == 5));
    epoch.handle(START, five).unwrap();
    assert_eq!(epoch.roster().unwrap().len(), 5);
    for (index, site) in fed.sites.iter().enumerate() {
        let index = u32::try_from(index).unwrap();
        assert_eq!(epoch.index_of(&site.name), Some(index));
        assert_eq!(epoch.site(index), Some(&site.name));
    }
}

#[test]
fn too_few_by_the_deadline_end_the_epoch_with_the_reason() {
    let (fed, mut epoch) = epoch(5);
    take(&mut epoch, join(&fed, 0)).unwrap();
    take(&mut epoch, join(&fed, 1)).unwrap();
    let reason = Abort::RosterTooSmall { have: 2, need: 3 };
    let failed = Event::Failed(reason.clone());
    assert_eq!(epoch.due(LATER), Some(failed.clone()));
    epoch.handle(LATER, failed).unwrap();
    assert_eq!(drain(&mut epoch), [Output::End(Err(reason))]);
    assert_eq!((epoch.due(LATER), epoch.deadline()), (None, None));
}

#[test]
fn an_advertisement_comes_once() {
    let (fed, mut epoch) = epoch(5);
    take(&mut epoch, join(&fed, 0)).unwrap();
    let again = join(&fed, 0);
    assert_eq!(epoch.admit(START, &again), Err(Rejection::Repeated));
    let mut other = join(&fed, 1);
    let Event::Advertised { site, .. } = &mut other else {
        unreachable!()
    };
    *site = fed.sites[0].name.clone();
    let conflict = Err(Rejection::Conflict("advertisement"));
    assert_eq!(
        epoch.admit(START, &other),
        conflict,
        "another key, the same site"
    );
    let Event::Advertised { advertisement, .. } = again else {
        unreachable!()
    };
    let site = fed.sites[1].name.clone();
    let stolen = Event::Advertised {
        site,
        advertisement,
    };
    assert_eq!(
        epoch.admit(START, &stolen),
        conflict,
        "the same key, another site"
    );
}

#[test]
fn a_late_advertisement_waits_for_the_next_epoch() {
    let (fed, mut epoch) = epoch(5);
    for index in 0..4 {
        take(&mut epoch, join(&fed, index)).unwrap();
    }
    let closed = epoch.due(LATER).unwrap();
    epoch.handle(LATER, closed).unwrap();
    let late = epoch.admit(LATER, &join(&fed, 4));
    assert!(
        matches!(late, Err(Rejection::OutOfPhase { .. })),
        "{late:?}"
    );
    let again = epoch.admit(LATER, &join(&fed, 3));
    assert_eq!(again, Err(Rejection::Repeated), "the first answer again");
}

/// T-12.
#[test]
fn t12_a_channel_key_put_in_place_of_a_sites_own_fails_its_signature() {
    let (fed, epoch) = epoch(5);
    let mut event = join(&fed, 0);
    let Event::Advertised {
        advertisement: changed,
        ..
    } = &mut event
    else {
        unreachable!()
    };
    changed.x_pk = advertisement(&fed, 1, 1).x_pk;
    let fault = Fault::Signature("advertisement").by(0);
    assert_eq!(epoch.admit(START, &event), Err(Rejection::Protocol(fault)));
}

#[test]
fn an_advertisement_for_another_epoch_is_refused() {
    let (fed, epoch) = epoch(5);
    let event = Event::Advertised {
        site: fed.sites[0].name.clone(),
        advertisement: Box::new(advertisement(&fed, 0, 2)),
    };
    assert_eq!(
        epoch.admit(START, &event),
        Err(Rejection::Elsewhere("epoch"))
    );
}

/// Two sites of one owner in one batch: each is admitted before the other is handled.
#[test]
fn a_channel_key_that_two_sites_share_is_refused_even_within_one_batch() {
    let (fed, mut epoch) = epoch(5);
    let shared = seed("twins", 0);
    let twins = [0, 1].map(|index: usize| Event::Advertised {
        site: fed.sites[index].name.clone(),
        advertisement: Box::new(advertisement_from(&fed, index, 1, &shared)),
    });
    let [first, second] = twins;
    assert_eq!(epoch.admit(START, &first), Ok(()));
    assert_eq!(epoch.admit(START, &second), Ok(()));
    epoch.handle(START, first).unwrap();
    let duplicate = Rejection::Protocol(Fault::Duplicate("channel key").by(1));
    assert_eq!(epoch.handle(START, second), Err(duplicate));
    for index in 2..5 {
        take(&mut epoch, join(&fed, index)).unwrap();
    }
    let closed = epoch.due(LATER).unwrap();
    epoch.handle(LATER, closed).unwrap();
    assert_eq!(epoch.roster().map(|roster| roster.len()), Some(4));
}

fn confirming(sites: u32) -> (Federation, Epoch) {
    let (fed, mut epoch) = epoch(sites);
    for index in 0..sites as usize {
        take(&mut epoch, join(&fed, index)).unwrap();
    }
    let closed = epoch.due(START).unwrap();
    epoch.handle(START, closed).unwrap();
    (fed, epoch)
}

fn confirm(fed: &Federation, epoch: &Epoch, index: usize) -> Event {
    let roster = epoch.roster().unwrap();
    Event::Confirmed(roster.confirm(&fed.sites[index].identity).unwrap())
}

#[test]
fn a_roster_is_certified_by_all_or_at_the_deadline_by_a_quorum() {
    let (fed, mut epoch) = confirming(5);
    for index in 0..3 {
        let event = confirm(&fed, &epoch, index);
        take(&mut epoch, event).unwrap();
    }
    let at = START + Span::from_secs(300);
    assert_eq!(epoch.deadline(), Some(at));
    let unconfirmed = Abort::RosterUnconfirmed { have: 3, need: 4 };
    assert_eq!(epoch.due(at), Some(Event::Failed(unconfirmed)));
    let event = confirm(&fed, &epoch, 3);
    take(&mut epoch, event).unwrap();
    assert_eq!(epoch.due(START), None, "the fifth may still come");
    let certified = epoch.due(at).unwrap();
    epoch.handle(at, certified).unwrap();
    assert_eq!(epoch.certificate().unwrap().signatures.len(), 4);
    assert_eq!(drain(&mut epoch), [Output::End(Ok(()))]);
    epoch.resume();
    assert_eq!(drain(&mut epoch), [Output::End(Ok(()))], "asked again");
    let late = confirm(&fed, &epoch, 4);
    assert_eq!(epoch.admit(at, &late), Err(Rejection::Repeated));
}

#[test]
fn a_confirmation_must_be_the_members_own_and_of_this_roster() {
    let (fed, mut epoch) = confirming(5);
    let Event::Confirmed(mut confirmation) = confirm(&fed, &epoch, 0) else {
        unreachable!()
    };
    take(&mut epoch, Event::Confirmed(confirmation)).unwrap();
    let again = Event::Confirmed(confirmation);
    assert_eq!(epoch.admit(START, &again), Err(Rejection::Repeated));
    confirmation.signature.0[0] ^= 1;
    let other = Event::Confirmed(confirmation);
    let conflict = Rejection::Conflict("confirmation");
    assert_eq!(epoch.admit(START, &other), Err(conflict));
    confirmation.index = 1;
    let forged = Event::Confirmed(confirmation);
    let fault = Fault::Signature("roster").by(1);
    assert_eq!(epoch.admit(START, &forged), Err(Rejection::Protocol(fault)));
}

#[test]
fn a_confirmation_before_the_roster_is_out_of_phase() {
    let (fed, early) = epoch(5);
    let (_, later) = confirming(5);
    let event = confirm(&fed, &later, 0);
    let refused = early.admit(START, &event);
    assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
}

/// A decision that does not follow from the entries before it ends the epoch: the journal was altered.
#[test]
fn a_recorded_roster_with_a_member_that_never_joined_has_diverged() {
    let (fed, mut epoch) = epoch(5);
    for index in 0..3 {
        take(&mut epoch, join(&fed, index)).unwrap();
    }
    let members = fed.sites.iter().map(|site| site.identity.public().id());
    let altered = Event::RosterClosed {
        members: members.collect(),
    };
    epoch.handle(START, altered).unwrap();
    let diverged = Err(Abort::Diverged("roster"));
    assert_eq!(drain(&mut epoch), [Output::End(diverged)]);
}

#[test]
fn a_second_roster_cannot_be_decided() {
    let (_, mut epoch) = confirming(5);
    let again = Event::RosterClosed {
        members: Vec::new(),
    };
    let refused = epoch.handle(START, again);
    assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
    assert_eq!(epoch.roster().unwrap().len(), 5);
}
