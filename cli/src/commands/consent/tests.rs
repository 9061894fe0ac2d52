use super::*;

fn attempt(released: bool, expires: u64) -> SpentAttempt {
    SpentAttempt {
        epoch: 1,
        round: 2,
        seq: 3,
        released,
        expires: Timestamp(expires),
    }
}

#[test]
fn a_person_is_told_what_is_spent_and_what_one_more_sum_may_reveal() {
    let text = explanation(&[attempt(true, 5)], Timestamp(5));
    assert!(text.contains("round 2, attempt 3: this site released the shares it held; expired\n"));
    assert!(text.contains("the difference is that site's update"));
    assert!(text.contains("Not consenting costs nothing"));
}

#[test]
fn an_attempt_that_may_still_end_is_better_waited_for() {
    let text = explanation(&[attempt(false, 60_001)], Timestamp(0));
    assert!(
        text.contains("released no shares; may still end by itself for 2 min: if you can, wait")
    );
}
