use std::collections::BTreeSet;
use std::sync::Arc;

use veilsum_common::time::Timestamp;
use veilsum_secagg::message::RoundResult;

use super::*;
use crate::tests::kit::{Federation, START, drain, shorter_epochs, terms};

fn model(number: u8) -> BlobRef {
    BlobRef::of(&[number])
}

fn run(rounds: u64, epoch_rounds: u32) -> Run {
    let fed = Federation::of(5);
    let mut terms = terms(&fed.hub.spec);
    terms.rounds = rounds;
    terms.params = Arc::new(shorter_epochs(&terms.params, epoch_rounds));
    Run::open(terms, model(0), START)
}

fn published(number: u8) -> Outcome {
    let certificate = Certificate {
        digest: Digest::ZERO,
        signatures: Vec::new(),
    };
    Outcome::Published(Box::new(Published {
        result: RoundResult {
            ctx: Digest::ZERO,
            digest: Digest::ZERO,
            survivors: 5,
            sum_hash: Digest::ZERO,
            metadata: Vec::new(),
            next_model_hash: model(number).digest,
        },
        certificate,
        model: model(number),
        opened_at: START,
        cohort: 5,
        dropped: Vec::new(),
        liars: BTreeSet::new(),
    }))
}

fn aborted(reason: Abort, certificate: Option<Certificate>) -> Outcome {
    Outcome::Aborted {
        reason,
        certificate,
    }
}

fn certificate(number: u8) -> Certificate {
    Certificate {
        digest: Digest([number; 32]),
        signatures: Vec::new(),
    }
}

const TOO_SMALL: Abort = Abort::CohortTooSmall { have: 2, need: 4 };

/// Everything the run was told, and what it asks for next.
fn tell(run: &mut Run, at: Timestamp, event: Event) -> Output {
    drain(run);
    run.admit(at, &event).unwrap();
    run.handle(at, event).unwrap();
    let [output] = &drain(run)[..] else {
        panic!("a run asks for one thing at a time")
    };
    run.resume();
    assert_eq!(
        drain(run),
        std::slice::from_ref(output),
        "and for the same again"
    );
    output.clone()
}

fn certified(run: &mut Run, epoch: u64) -> NextRound {
    let outcome = Ok(());
    next(tell(run, START, Event::EpochEnded { epoch, outcome }))
}

fn next(output: Output) -> NextRound {
    match output {
        Output::OpenRound(next) => *next,
        other => panic!("{other:?}"),
    }
}

fn ended(run: &mut Run, at: Timestamp, outcome: Outcome) -> Output {
    let current = run.current().expect("a round is open");
    let (round, seq) = (current.round, current.seq);
    let event = Event::RoundEnded {
        round,
        seq,
        outcome,
    };
    tell(run, at, event)
}

#[test]
fn a_run_goes_from_its_first_epoch_to_its_last_round() {
    let mut run = run(2, 100);
    assert_eq!(drain(&mut run), [Output::OpenEpoch { epoch: 1 }]);
    let first = certified(&mut run, 1);
    assert_eq!((first.epoch, first.round, first.seq), (1, 1, 1));
    assert_eq!((first.model, first.prev_result), (model(0), Digest::ZERO));
    let second = next(ended(&mut run, START, published(1)));
    assert_eq!((second.epoch, second.round, second.seq), (1, 2, 2));
    assert_eq!(second.model, model(1));
    assert_eq!(second.prev_result, run.history()[0].published.result.hash());
    assert_eq!(
        ended(&mut run, START, published(2)),
        Output::Ended(State::Completed)
    );
    assert_eq!((run.state(), run.model()), (State::Completed, model(2)));
}

#[test]
fn an_aborted_round_is_tried_again_with_every_proof_and_without_bad_dealers() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    let second = next(ended(&mut run, START, aborted(TOO_SMALL, None)));
    assert_eq!((second.round, second.seq), (1, 2));
    assert!(second.abort_certificates.is_empty() && second.excluded.is_empty());
    let dealers = vec![3, 1];
    let bad = Abort::BadDealing { dealers };
    let third = next(ended(
        &mut run,
        START,
        aborted(bad.clone(), Some(certificate(2))),
    ));
    assert_eq!((third.round, third.seq), (1, 3));
    assert_eq!(third.abort_certificates, [certificate(2)]);
    assert_eq!(third.excluded, [3, 1]);
    assert_eq!(run.aborted(), [TOO_SMALL, bad]);
    let after = next(ended(&mut run, START, published(1)));
    assert_eq!((after.round, after.seq), (2, 4));
    assert!(after.abort_certificates.is_empty() && after.excluded.is_empty());
    assert!(run.aborted().is_empty());
}

#[test]
fn what_fails_three_times_ends_the_run() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    for _ in 1..MAX_ATTEMPTS {
        next(ended(&mut run, START, aborted(TOO_SMALL, None)));
    }
    let failed = ended(&mut run, START, aborted(TOO_SMALL, None));
    assert_eq!(failed, Output::Ended(State::Failed(TOO_SMALL)));
}

#[test]
fn an_abort_that_a_new_attempt_cannot_heal_ends_the_run_at_once() {
    let dealer = 2;
    for reason in [
        Abort::Cancelled,
        Abort::Dealer { dealer },
        Abort::BadSum,
        Abort::NotFinite,
    ] {
        let mut run = run(5, 100);
        certified(&mut run, 1);
        let failed = ended(&mut run, START, aborted(reason.clone(), None));
        assert_eq!(failed, Output::Ended(State::Failed(reason)));
    }
    let mut run = run(5, 100);
    certified(&mut run, 1);
    let lost = Abort::Diverged("staged upload");
    let failed = ended(&mut run, START, Outcome::Lost(lost.clone()));
    assert_eq!(failed, Output::Ended(State::Failed(lost)));
}

const LOST: Abort = Abort::ReleaseLost { have: 3, need: 4 };

fn loss(reason: Abort) -> Loss {
    Loss {
        reason,
        missing: vec!["north".parse().unwrap()],
        culprit: None,
    }
}

/// The current attempt is lost.
fn lose(run: &mut Run, at: Timestamp, reason: Abort) {
    let current = run.current().expect("a round is open");
    let (round, seq) = (current.round, current.seq);
    let outcome = Outcome::Spent(loss(reason));
    let event = Event::RoundEnded {
        round,
        seq,
        outcome,
    };
    drain(run);
    run.admit(at, &event).unwrap();
    run.handle(at, event).unwrap();
    run.resume();
    assert!(drain(run).is_empty(), "nothing is asked of anybody");
}

fn resumed(number: u8) -> Event {
    let request_id = format!("request {number}");
    Event::Resumed { request_id }
}

#[test]
fn a_lost_attempt_pauses_the_run_until_an_operator_opens_the_next_round_number() {
    let mut run = run(2, 100);
    certified(&mut run, 1);
    next(ended(&mut run, START, published(1)));
    lose(&mut run, START, LOST);
    let paused = run.paused().unwrap();
    assert_eq!((paused.epoch, paused.round, paused.seq), (1, 2, 2));
    assert_eq!((paused.at, &paused.loss), (START, &loss(LOST)));
    assert_eq!((run.state(), run.current()), (State::Running, None));
    let third = next(tell(&mut run, START, resumed(1)));
    assert_eq!((third.epoch, third.round, third.seq), (1, 3, 3));
    assert_eq!(third.model, model(1));
    assert_eq!(third.prev_result, run.history()[0].published.result.hash());
    assert_eq!(run.paused(), None);
    assert_eq!(
        ended(&mut run, START, published(2)),
        Output::Ended(State::Completed),
        "two rounds were published, whatever their numbers"
    );
    let rounds: Vec<u64> = run.history().iter().map(|record| record.round).collect();
    assert_eq!(rounds, [1, 3]);
}

#[test]
fn a_request_resumes_a_run_once_and_only_a_paused_one() {
    let mut run = run(5, 100);
    let under_way = |run: &Run| {
        let refused = run.admit(START, &resumed(9));
        assert!(matches!(refused, Err(Rejection::OutOfPhase { .. })));
    };
    under_way(&run);
    certified(&mut run, 1);
    under_way(&run);
    lose(&mut run, START, LOST);
    next(tell(&mut run, START, resumed(1)));
    under_way(&run);
    lose(&mut run, START, LOST);
    let again = run.admit(START, &resumed(1));
    assert_eq!(again, Err(Rejection::Repeated), "and the run stays paused");
    let third = next(tell(&mut run, START, resumed(2)));
    assert_eq!((third.round, third.seq), (3, 3));
    tell(&mut run, START, Event::Cancelled);
    under_way(&run);
}

#[test]
fn a_paused_run_can_be_cancelled() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    lose(&mut run, START, LOST);
    let cancelled = tell(&mut run, START, Event::Cancelled);
    assert_eq!(cancelled, Output::Ended(State::Cancelled));
    assert_eq!(run.paused(), None);
}

#[test]
fn a_resumed_round_has_all_its_tries_and_the_proofs_of_earlier_ones() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    for number in 1..3 {
        let proof = Some(certificate(number));
        next(ended(&mut run, START, aborted(TOO_SMALL, proof)));
    }
    lose(&mut run, START, LOST);
    let resumed_round = next(tell(&mut run, START, resumed(1)));
    let proofs = [certificate(1), certificate(2)];
    assert_eq!(resumed_round.abort_certificates, proofs);
    for number in 3..5 {
        let proof = Some(certificate(number));
        let again = next(ended(&mut run, START, aborted(TOO_SMALL, proof)));
        assert_eq!(again.round, 2);
        assert!(again.abort_certificates.len() <= MAX_ATTEMPTS as usize);
        assert_eq!(again.abort_certificates.last(), Some(&certificate(number)));
    }
    let failed = ended(&mut run, START, aborted(TOO_SMALL, None));
    assert_eq!(failed, Output::Ended(State::Failed(TOO_SMALL)));
}

#[test]
fn a_convicted_dealer_is_left_out_until_a_round_is_published() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    lose(&mut run, START, Abort::Dealer { dealer: 2 });
    let without = next(tell(&mut run, START, resumed(1)));
    assert_eq!(without.excluded, [2]);
    let after = next(ended(&mut run, START, published(1)));
    assert!(after.excluded.is_empty());
}

#[test]
fn a_run_resumed_after_its_epoch_was_worn_goes_on_in_the_next_one() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    lose(&mut run, START, Abort::Dealer { dealer: 2 });
    let week = START + Span::from_secs(604_800);
    let worn = tell(&mut run, week, resumed(1));
    assert_eq!(worn, Output::OpenEpoch { epoch: 2 });
    let next = certified(&mut run, 2);
    assert_eq!((next.epoch, next.round, next.seq), (2, 2, 1));
    assert!(
        next.excluded.is_empty(),
        "the index was a place in the old roster"
    );
}

fn not_set_up(run: &mut Run, epoch: u64, reason: Abort) -> Output {
    let outcome = Err(reason);
    tell(run, START, Event::EpochEnded { epoch, outcome })
}

const TOO_FEW_JOINED: Abort = Abort::RosterTooSmall { have: 2, need: 3 };
const UNCONFIRMED: Abort = Abort::RosterUnconfirmed { have: 0, need: 3 };

#[test]
fn an_epoch_that_cannot_be_set_up_is_followed_by_the_next_number() {
    let mut run = run(5, 2);
    assert_eq!(
        not_set_up(&mut run, 1, TOO_FEW_JOINED),
        Output::OpenEpoch { epoch: 2 }
    );
    assert_eq!(
        not_set_up(&mut run, 2, UNCONFIRMED),
        Output::OpenEpoch { epoch: 3 }
    );
    assert_eq!(run.failed_setups(), [TOO_FEW_JOINED, UNCONFIRMED]);
    let first = certified(&mut run, 3);
    assert_eq!((first.epoch, first.round, first.seq), (3, 1, 1));
    assert!(run.failed_setups().is_empty());
    next(ended(&mut run, START, published(1)));
    let worn = ended(&mut run, START, published(2));
    assert_eq!(worn, Output::OpenEpoch { epoch: 4 });
    for epoch in 4..6 {
        not_set_up(&mut run, epoch, UNCONFIRMED);
    }
    let third = certified(&mut run, 6);
    assert_eq!((third.epoch, third.round, third.seq), (6, 3, 1));
}

#[test]
fn epochs_that_cannot_be_set_up_three_times_in_a_row_end_the_run_with_the_last_reason() {
    let mut run = run(5, 100);
    for epoch in 1..u64::from(MAX_ATTEMPTS) {
        not_set_up(&mut run, epoch, UNCONFIRMED);
    }
    let failed = not_set_up(&mut run, u64::from(MAX_ATTEMPTS), TOO_FEW_JOINED);
    assert_eq!(failed, Output::Ended(State::Failed(TOO_FEW_JOINED)));
}

#[test]
fn an_epoch_whose_journal_diverged_ends_the_run_at_once() {
    let mut run = run(5, 100);
    let diverged = Abort::Diverged("roster");
    let failed = not_set_up(&mut run, 1, diverged.clone());
    assert_eq!(failed, Output::Ended(State::Failed(diverged)));
}

#[test]
fn an_epoch_ends_after_its_attempts_or_its_time_but_never_within_a_round() {
    let mut run = run(10, 2);
    certified(&mut run, 1);
    next(ended(&mut run, START, published(1)));
    assert_eq!(
        ended(&mut run, START, published(2)),
        Output::OpenEpoch { epoch: 2 }
    );
    let third = certified(&mut run, 2);
    assert_eq!((third.epoch, third.round, third.seq), (2, 3, 1));
    next(ended(&mut run, START, aborted(TOO_SMALL, None)));
    let again = next(ended(
        &mut run,
        START,
        aborted(TOO_SMALL, Some(certificate(1))),
    ));
    assert_eq!(
        (again.epoch, again.seq),
        (2, 3),
        "its proofs speak of this epoch"
    );
    assert_eq!(
        ended(&mut run, START, published(3)),
        Output::OpenEpoch { epoch: 3 }
    );
    certified(&mut run, 3);
    let week = START + Span::from_secs(604_800);
    let worn = ended(&mut run, week, published(4));
    assert_eq!(worn, Output::OpenEpoch { epoch: 4 });
}

#[test]
fn what_is_not_about_the_current_part_of_the_run_is_elsewhere() {
    let mut run = run(5, 100);
    let outcome = Ok(());
    let early = Event::EpochEnded { epoch: 2, outcome };
    let elsewhere = Err(Rejection::Elsewhere("epoch or round"));
    assert_eq!(run.admit(START, &early), elsewhere);
    certified(&mut run, 1);
    let outcome = Ok(());
    let again = Event::EpochEnded { epoch: 1, outcome };
    assert_eq!(run.handle(START, again), elsewhere);
    for (round, seq) in [(1, 2), (2, 1), (2, 2)] {
        let outcome = published(1);
        let other = Event::RoundEnded {
            round,
            seq,
            outcome,
        };
        assert_eq!(run.handle(START, other), elsewhere);
    }
    assert!(
        drain(&mut run).is_empty(),
        "refused, and so nothing is asked"
    );
}

#[test]
fn an_operator_ends_a_run_once() {
    for opened in [false, true] {
        let mut run = run(5, 100);
        if opened {
            certified(&mut run, 1);
        }
        drain(&mut run);
        let ended = tell(&mut run, START, Event::Cancelled);
        assert_eq!(ended, Output::Ended(State::Cancelled));
        assert_eq!(
            run.admit(START, &Event::Cancelled),
            Err(Rejection::Repeated)
        );
        let outcome = published(1);
        let late = Event::RoundEnded {
            round: 1,
            seq: 1,
            outcome,
        };
        assert!(matches!(
            run.handle(START, late),
            Err(Rejection::OutOfPhase { .. })
        ));
        assert_eq!(run.state(), State::Cancelled);
    }
}

/// Every site has given its one update to that model; another round would get nothing from anybody.
#[test]
fn a_round_that_leaves_the_model_as_it_was_ends_the_run_and_says_so() {
    let mut run = run(5, 100);
    certified(&mut run, 1);
    ended(&mut run, START, published(1));
    let last = ended(&mut run, START, published(1));
    let unchanged = Abort::Unchanged { round: 2 };
    assert_eq!(last, Output::Ended(State::Failed(unchanged.clone())));
    assert_eq!(run.history().len(), 2, "what was published stays");
    assert!(unchanged.to_string().contains("bit for bit"));
}

#[test]
fn a_last_round_that_leaves_the_model_as_it_was_completes_the_run() {
    let mut run = run(2, 100);
    certified(&mut run, 1);
    ended(&mut run, START, published(1));
    let last = ended(&mut run, START, published(1));
    assert_eq!(last, Output::Ended(State::Completed));
}
