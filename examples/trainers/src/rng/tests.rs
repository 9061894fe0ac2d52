use super::*;

#[test]
fn the_stream_is_splitmix64() {
    // The published test values for seed 1234567.
    let mut rng = Rng { state: 1_234_567 };
    let words: Vec<u64> = (0..3).map(|_| rng.word()).collect();
    assert_eq!(
        words,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423
        ]
    );
}

#[test]
fn each_purpose_has_its_own_stream() {
    let purposes = [
        Purpose::TestRows,
        Purpose::Sites,
        Purpose::InitialModel,
        Purpose::Round(0),
        Purpose::Round(1),
        Purpose::Round(u32::MAX),
    ];
    let mut first: Vec<u64> = purposes.iter().map(|&p| Rng::new(7, p).word()).collect();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), purposes.len());
}

#[test]
fn numbers_stay_below_their_bound() {
    let mut rng = Rng::new(1, Purpose::Sites);
    assert_eq!(rng.below(0), 0);
    let mut seen = [false; 5];
    for _ in 0..200 {
        seen[rng.below(5)] = true;
    }
    assert_eq!(seen, [true; 5]);
    assert!((0..1000).all(|_| (-1.0..1.0).contains(&rng.signed_unit())));
}

#[test]
fn shuffling_keeps_every_item() {
    let mut items: Vec<u32> = (0..100).collect();
    Rng::new(3, Purpose::Sites).shuffle(&mut items);
    assert_ne!(items, (0..100).collect::<Vec<_>>());
    items.sort_unstable();
    assert_eq!(items, (0..100).collect::<Vec<_>>());
}
