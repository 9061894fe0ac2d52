use veilsum_common::quantise::Quantiser;
use veilsum_daemon::files::Reading;

use super::*;

#[test]
fn the_update_is_whole_quanta_so_that_no_noise_changes_it() {
    let quantiser = Quantiser::new(CLIP.parse().unwrap(), None, 1, 16).unwrap();
    let update: Vec<f32> = (0..5000).map(value).collect();
    for fill in [0, 0xff] {
        let noise = |_: u64, bytes: &mut [u8]| bytes.fill(fill);
        let lanes = quantiser.quantise(&update, 1, &noise).unwrap().lanes;
        for (lane, value) in lanes.iter().zip(&update) {
            assert_eq!(quantiser.decode(5 * lane, 5), f64::from(*value));
        }
    }
}

#[test]
fn a_model_that_differs_anywhere_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    let params = PERIOD as u64 + 10;
    write_update(&path, params).unwrap();
    let look = |rounds| {
        let model = Reading::open(&path).unwrap();
        first_difference(&model, params, rounds).unwrap()
    };
    assert_eq!(look(1), None);
    assert!(look(2).is_some());
    let file = File::options().write(true).open(&path).unwrap();
    let at = file_bytes(params) - 4 * (params - 5000);
    file.write_all_at(&1.0f32.to_le_bytes(), at).unwrap();
    assert_eq!(look(1), Some((5000, 1.0, 0.0)));
}

#[test]
fn the_files_have_holes() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("update");
    write_update(&path, 50_000_000).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.len(), file_bytes(50_000_000));
    assert!(found.blocks() * 512 < 2_000_000);
}
