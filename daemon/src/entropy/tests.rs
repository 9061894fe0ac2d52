use super::*;

#[test]
fn two_draws_differ() {
    assert_ne!(*bytes::<32>(), *bytes::<32>());
    let mut buffer = [0; 32];
    fill(&mut buffer);
    assert_ne!(buffer, [0; 32]);
}
