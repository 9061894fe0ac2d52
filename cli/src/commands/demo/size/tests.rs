use super::*;

#[test]
fn the_study_parses_for_every_number_of_sites() {
    for sites in [3, 5, 128] {
        let text = study(sites, 7);
        let study = Study::parse(&text).unwrap();
        assert_eq!(study.rounds().count, 7);
    }
}
