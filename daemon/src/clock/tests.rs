use super::*;

#[test]
fn the_clock_counts_milliseconds_since_1970() {
    let seconds = 2_000_000_000;
    let (start_of_2024, year_2286) = (Timestamp(1_704_067_200_000), Timestamp(5 * seconds * 1000));
    assert!(now() > start_of_2024 && now() < year_2286);
}
