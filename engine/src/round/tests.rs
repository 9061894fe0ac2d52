use super::*;
use crate::tests::kit::{Federation, Kind, Stream, Trainer, drain};
use veilsum_secagg::Fault;

/// A whole attempt as its journal kept it.
struct Recorded {
    fed: Federation,
    entries: Vec<(Timestamp, Event)>,
}

impl Recorded {
    fn of(sites: u32) -> Self {
        let mut fed = Federation::of(sites);
        fed.finish();
        Self::from(fed)
    }

    fn from(fed: Federation) -> Self {
        let entries = stream(&fed).journal.clone();
        Self { fed, entries }
    }

    /// The machine before the first entry for which `end` holds, and that entry.
    fn before(&self, end: impl Fn(&Event) -> bool) -> (Round, Timestamp, Event) {
        let mut round = stream(&self.fed).fresh();
        for (at, event) in &self.entries {
            if end(event) {
                return (round, *at, event.clone());
            }
            round.handle(*at, event.clone()).unwrap();
        }
        panic!("there is no such entry");
    }

    fn find(&self, wanted: impl Fn(&Event) -> bool) -> Event {
        let found = self.entries.iter().find(|(_, event)| wanted(event));
        found.expect("there is such an entry").1.clone()
    }

    fn commit(&self, from: u32) -> Event {
        self.find(|event| matches!(event, Event::Committed { index, .. } if *index == from))
    }

    fn upload(&self, from: u32) -> Event {
        self.find(|event| matches!(event, Event::Uploaded(upload) if upload.item.index == from))
    }

    fn attestation(&self, from: u32) -> Event {
        self.find(|event| matches!(event, Event::Attested { index, .. } if *index == from))
    }

    fn list(&self, from: u32) -> Event {
        self.find(|event| matches!(event, Event::Unmasked { index, .. } if *index == from))
    }
}

fn stream(fed: &Federation) -> &Stream<Round> {
    &fed.hub.round.as_ref().unwrap().1
}

fn is_cohort(event: &Event) -> bool {
    matches!(event, Event::CohortClosed { .. })
}

fn is_survivors(event: &Event) -> bool {
    matches!(event, Event::SurvivorsClosed { .. })
}

fn is_certificate(event: &Event) -> bool {
    matches!(event, Event::Certified { .. })
}

fn is_shares(event: &Event) -> bool {
    matches!(event, Event::SharesClosed { .. })
}

fn is_done(event: &Event) -> bool {
    matches!(event, Event::JobDone(_))
}

/// The machine after all its entries.
fn over(recorded: &Recorded) -> Round {
    let mut round = stream(&recorded.fed).fresh();
    for (at, event) in &recorded.entries {
        round.handle(*at, event.clone()).unwrap();
    }
    round
}

fn out_of_phase(result: Result<(), Rejection>) -> bool {
    matches!(result, Err(Rejection::OutOfPhase { .. }))
}

#[test]
fn each_message_is_repeated_after_it_was_taken_and_out_of_phase_before_its_time() {
    let recorded = Recorded::of(5);
    let (early, at, _) = recorded.before(|_| true);
    for event in [
        recorded.upload(0),
        recorded.attestation(0),
        recorded.list(0),
    ] {
        assert!(out_of_phase(early.admit(at, &event)), "{event:?}");
    }
    let round = over(&recorded);
    for (_, event) in &recorded.entries {
        match event {
            Event::Committed { .. }
            | Event::Uploaded(_)
            | Event::Attested { .. }
            | Event::Unmasked { .. }
            | Event::JobDone(_) => {
                let again = round.admit(at, event);
                assert_eq!(again, Err(Rejection::Repeated), "{event:?}");
            }
            _ => assert!(out_of_phase(round.admit(at, event)), "{event:?}"),
        }
    }
}

#[test]
fn a_message_that_comes_after_its_phase_is_refused() {
    let recorded = Recorded::of(5);
    let (mut round, at, _) = recorded.before(is_cohort);
    round.commits.remove(&4);
    let members = Bitmap::of(5, 0..4);
    round.handle(at, Event::CohortClosed { members }).unwrap();
    assert!(
        out_of_phase(round.admit(at, &recorded.commit(4))),
        "a late Commit"
    );
    let (mut round, at, _) = recorded.before(is_survivors);
    round.uploads.remove(&4);
    let survivors = Bitmap::of(5, 0..4);
    round
        .handle(at, Event::SurvivorsClosed { survivors })
        .unwrap();
    assert!(
        out_of_phase(round.admit(at, &recorded.upload(4))),
        "a late upload"
    );
    assert!(out_of_phase(round.expects_upload(4).map(drop)));
}

#[test]
fn a_late_answer_of_a_holder_is_welcome_and_changes_nothing() {
    let recorded = Recorded::of(5);
    let mut round = over(&recorded);
    round.attestations.remove(&0);
    round.lists.remove(&0);
    let at = Timestamp(0);
    let late = [recorded.attestation(0), recorded.list(0)];
    for event in late {
        assert_eq!(round.admit(at, &event), Err(Rejection::Repeated));
    }
}

/// T-33, and the same for every other message.
#[test]
fn t33_another_message_under_the_same_name_is_a_conflict_and_the_first_one_stays() {
    let recorded = Recorded::of(5);
    let (round, at, _) = recorded.before(is_cohort);
    let Event::Committed { index, mut commit } = recorded.commit(0) else {
        unreachable!()
    };
    commit.nonce[0] ^= 1;
    let other = Event::Committed { index, commit };
    assert_eq!(round.admit(at, &other), Err(Rejection::Conflict("Commit")));

    let (round, at, _) = recorded.before(is_survivors);
    let Event::Uploaded(mut upload) = recorded.upload(0) else {
        unreachable!()
    };
    upload.item.upload_hash.0[0] ^= 1;
    let other = round.admit(at, &Event::Uploaded(upload));
    assert_eq!(other, Err(Rejection::Conflict("upload")));

    let (round, at, _) = recorded.before(is_certificate);
    let Event::Attested {
        index,
        mut attestation,
    } = recorded.attestation(0)
    else {
        unreachable!()
    };
    attestation.complaints.insert(3);
    let other = round.admit(at, &Event::Attested { index, attestation });
    assert_eq!(other, Err(Rejection::Conflict("attestation")));

    let (round, at, _) = recorded.before(is_shares);
    let Event::Unmasked { index, mut list } = recorded.list(0) else {
        unreachable!()
    };
    list.scalars[0][0] ^= 1;
    let other = round.admit(at, &Event::Unmasked { index, list });
    assert_eq!(other, Err(Rejection::Conflict("unmask list")));
}

/// T-14, T-39.
#[test]
fn t14_a_commit_of_another_attempt_or_another_site_is_refused() {
    let recorded = Recorded::of(5);
    let (round, at, event) = recorded.before(|event| matches!(event, Event::Committed { .. }));
    let Event::Committed { index, commit } = event else {
        unreachable!()
    };
    let mut older = commit.clone();
    older.ann_hash.0[0] ^= 1;
    let older = Event::Committed {
        index,
        commit: older,
    };
    let fault = Fault::Context("announcement").by(index);
    assert_eq!(round.admit(at, &older), Err(Rejection::Protocol(fault)));
    let thief = (index + 1) % 5;
    let copied = Event::Committed {
        index: thief,
        commit,
    };
    let refused = round.admit(at, &copied).unwrap_err();
    assert!(
        matches!(refused, Rejection::Protocol(error) if error.culprits() == Some(veilsum_secagg::Culprit::Member(thief)))
    );
}

/// T-13.
#[test]
fn t13_a_mask_key_that_is_not_new_in_the_cohort_is_refused() {
    let recorded = Recorded::of(5);
    let (mut round, at, event) = recorded.before(is_cohort);
    assert!(is_cohort(&event));
    let stolen = round.commits.remove(&1).unwrap();
    let Event::Committed { mut commit, .. } = recorded.commit(0) else {
        unreachable!()
    };
    commit.e_pk = round.commits[&2].e_pk;
    assert_ne!(commit.e_pk, stolen.e_pk);
    let twin = Event::Committed { index: 1, commit };
    let fault = Rejection::Protocol(Fault::Duplicate("mask key").by(1));
    assert_eq!(round.admit(at, &twin), Err(fault.clone()));
    assert_eq!(round.handle(at, twin), Err(fault), "within one batch too");
}

#[test]
fn of_two_events_in_one_batch_the_first_counts() {
    let recorded = Recorded::of(5);
    let (mut round, at, commit) = recorded.before(|event| matches!(event, Event::Committed { .. }));
    let Event::Committed { index, .. } = commit else {
        unreachable!()
    };
    let declined = Event::Declined {
        index,
        why: Decline::NotNow,
    };
    assert_eq!(round.admit(at, &commit), Ok(()));
    assert_eq!(round.admit(at, &declined), Ok(()));
    round.handle(at, commit.clone()).unwrap();
    let conflict = Err(Rejection::Conflict("answer"));
    assert_eq!(round.handle(at, declined), conflict);
    assert_eq!(round.handle(at, commit), Err(Rejection::Repeated));
    assert!(round.declined().is_empty());
}

#[test]
fn a_site_that_declined_cannot_commit_and_is_counted_once() {
    let recorded = Recorded::of(5);
    let (mut round, at, _) = recorded.before(|_| true);
    let why = Decline::NotNow;
    round.handle(at, Event::Declined { index: 0, why }).unwrap();
    let declined = Event::Declined { index: 0, why };
    assert_eq!(round.admit(at, &declined), Err(Rejection::Repeated));
    let conflict = Err(Rejection::Conflict("answer"));
    assert_eq!(round.admit(at, &recorded.commit(0)), conflict);
    for index in 1..4 {
        round.handle(at, recorded.commit(index)).unwrap();
    }
    assert_eq!(round.due(at), None, "site 4 has not answered");
    round.handle(at, recorded.commit(4)).unwrap();
    let members = Bitmap::of(5, 1..5);
    assert_eq!(round.due(at), Some(Event::CohortClosed { members }));
}

#[test]
fn a_member_left_out_is_not_waited_for() {
    let recorded = Recorded::of(5);
    let (mut round, at, _) = recorded.before(|_| true);
    round.opening.excluded = vec![2];
    let refused = round.admit(at, &recorded.commit(2));
    assert!(matches!(refused, Err(Rejection::NotAMember(_))));
    for index in [0, 1, 3, 4] {
        assert_eq!(round.due(at), None);
        round.handle(at, recorded.commit(index)).unwrap();
    }
    let members = Bitmap::of(5, [0, 1, 3, 4]);
    assert_eq!(round.due(at), Some(Event::CohortClosed { members }));
}

#[test]
fn somebody_who_is_not_in_the_roster_can_say_nothing() {
    let recorded = Recorded::of(5);
    let (round, at, _) = recorded.before(|_| true);
    let why = Decline::Policy;
    let declined = round.admit(at, &Event::Declined { index: 5, why });
    assert_eq!(declined, Err(Rejection::NotAMember("roster")));
    let Event::Committed { commit, .. } = recorded.commit(0) else {
        unreachable!()
    };
    let committed = round.admit(at, &Event::Committed { index: 5, commit });
    assert!(matches!(committed, Err(Rejection::Protocol(_))));
}

/// Replay checks every recorded set; one that does not follow from the entries before it ends the round.
#[test]
fn a_recorded_set_that_does_not_follow_has_diverged() {
    let recorded = Recorded::of(5);
    let few = vec![0, 1, 2];
    let cases = [
        (
            recorded.before(is_cohort),
            Event::CohortClosed {
                members: Bitmap::of(5, 0..3),
            },
        ),
        (
            recorded.before(is_survivors),
            Event::SurvivorsClosed {
                survivors: Bitmap::of(5, 0..3),
            },
        ),
        (
            recorded.before(is_certificate),
            Event::Certified {
                holders: few.clone(),
            },
        ),
        (
            recorded.before(is_certificate),
            Event::Certified {
                holders: vec![0, 1, 2, 9],
            },
        ),
        (
            recorded.before(is_shares),
            Event::SharesClosed { holders: few },
        ),
    ];
    for ((mut round, at, _), altered) in cases {
        round.handle(at, altered.clone()).unwrap();
        let outcome = round.outcome();
        let diverged = matches!(outcome, Some(Outcome::Lost(Abort::Diverged(_))));
        assert!(diverged, "{altered:?} gave {outcome:?}");
    }
}

#[test]
fn a_survivor_certificate_and_an_abort_exclude_each_other() {
    let recorded = Recorded::of(5);
    let (mut round, at, certified) = recorded.before(is_certificate);
    let abort = Event::AbortDecided(Abort::AttestationsTooFew { have: 0, need: 4 });
    assert_eq!(round.admit(at, &abort), Ok(()));
    round.handle(at, certified.clone()).unwrap();
    assert!(
        out_of_phase(round.handle(at, abort.clone())),
        "certified first"
    );
    let (mut round, at, _) = recorded.before(is_certificate);
    round.handle(at, abort).unwrap();
    assert!(out_of_phase(round.handle(at, certified)), "aborted first");
    assert!(round.certificate().is_none());
    assert!(out_of_phase(round.admit(at, &recorded.list(0))));
}

#[test]
fn the_final_job_is_asked_for_until_its_first_result() {
    let recorded = Recorded::of(5);
    let (mut round, at, done) = recorded.before(is_done);
    round.resume();
    assert_eq!(drain(&mut round), [Output::Compute]);
    round.handle(at, done.clone()).unwrap();
    let [Output::End(Outcome::Published(_)), Output::Discard(staged)] = &drain(&mut round)[..]
    else {
        panic!("a published round discards its staged uploads")
    };
    assert_eq!(staged.len(), 5);
    assert_eq!(round.handle(at, done.clone()), Err(Rejection::Repeated));
    let Event::JobDone(mut computed) = done else {
        unreachable!()
    };
    computed.next_model.digest.0[0] ^= 1;
    let another = round.handle(at, Event::JobDone(computed));
    let conflict = Rejection::Conflict("result of the final job");
    assert_eq!(another, Err(conflict));
}

#[test]
fn the_report_timeout_runs_from_the_closing_also_from_a_late_one_and_ends_at_expiry() {
    let recorded = Recorded::of(5);
    let (round, at, _) = recorded.before(|_| true);
    let announced = round.attempt().announcement().clone();
    assert_eq!(round.deadline(), Some(Timestamp(announced.commit_by_ms)));
    let report = round.terms.report;
    let [submit_by, expires] = [announced.submit_by_ms, announced.expires_ms].map(Timestamp);
    let late = submit_by + report;
    let last = Timestamp(expires.0 - 1000);
    for (closing, deadline) in [(at, at + report), (late, late + report), (last, expires)] {
        let (mut round, _, closed) = recorded.before(is_cohort);
        round.handle(closing, closed).unwrap();
        assert_eq!(round.deadline(), Some(deadline));
        let (mut round, _, closed) = recorded.before(is_survivors);
        round.handle(closing, closed).unwrap();
        assert_eq!(round.deadline(), Some(deadline), "and so for holders");
    }
}

/// The coordinator was away until after expiry: no site may be shown a cohort, since an abort would then need holders that have expired.
#[test]
fn a_cohort_is_not_closed_after_expiry() {
    let recorded = Recorded::of(5);
    let (mut round, _, _) = recorded.before(is_cohort);
    let expires = Timestamp(round.attempt().announcement().expires_ms);
    let reason = Abort::SurvivorsTooFew { have: 0, need: 4 };
    let aborted = round.due(expires).unwrap();
    assert_eq!(aborted, Event::AbortDecided(reason.clone()));
    round.handle(expires, aborted).unwrap();
    let certificate = None;
    let ended = Outcome::Aborted {
        reason,
        certificate,
    };
    assert_eq!(round.outcome(), Some(&ended));
}

#[test]
fn a_want_of_clean_holders_is_told_in_numbers_that_explain_it() {
    let mut fed = Federation::of(7);
    fed.enrol();
    fed.site(0).damage("attempt/1/1/inbound"); // complains about everybody, as two corrupt holders may
    fed.site(1).damage("attempt/1/1/inbound");
    fed.site(5).silent.insert(Kind::Attest);
    fed.site(6).silent.insert(Kind::Attest);
    fed.settle();
    assert_eq!(fed.round().attestations().len(), 5, "t holders attested");
    fed.wait();
    let reason = fed.hub.past[0].outcome.clone();
    let too_few = Abort::AttestationsTooFew { have: 3, need: 5 };
    assert!(matches!(reason, Outcome::Aborted { reason, .. } if reason == too_few));
}

#[test]
fn sites_that_sit_out_can_leave_too_few_at_once() {
    let mut fed = Federation::of(5);
    for index in 0..2 {
        fed.site(index).trainer = Trainer::Declines(Decline::UpdateRefused);
    }
    fed.settle();
    assert_eq!(
        fed.now,
        crate::tests::kit::START,
        "nobody waits for a deadline"
    );
    assert_eq!(fed.hub.run().aborted().len(), 3);
}

#[test]
fn no_second_upload_of_a_member_is_expected() {
    let recorded = Recorded::of(5);
    let (mut round, at, first) = recorded.before(|event| matches!(event, Event::Uploaded(_)));
    let Event::Uploaded(upload) = &first else {
        unreachable!()
    };
    let index = upload.item.index;
    assert!(round.expects_upload(index).is_ok());
    round.handle(at, first.clone()).unwrap();
    assert_eq!(round.expects_upload(index), Err(Rejection::Repeated));
}
