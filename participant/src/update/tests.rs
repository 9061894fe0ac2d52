use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use safetensors::tensor::Dtype;
use tempfile::TempDir;
use veilsum_common::model::ModelError;

use super::*;
use crate::test_support::{Tensor, f32s, file, model, run};

const RESULT: &str = r#"{"num_examples": 40, "metrics": {"accuracy": 0.5, "loss": 1.25}}"#;

struct Site {
    dir: TempDir,
    updates: Updates,
    workdir: WorkDir,
    run: Arc<RunSpec>,
    global: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        Self {
            updates: Updates::open(dir.path(), &run().run_id()).unwrap(),
            workdir: WorkDir::at(work),
            run: run(),
            global: model(),
            dir,
        }
    }

    /// A site whose trainer wrote these.
    fn with(update: &[u8], result: &str) -> Self {
        let site = Self::new();
        fs::write(site.workdir.update(), update).unwrap();
        fs::write(site.workdir.result(), result).unwrap();
        site
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            run: &self.run,
            global: &self.global,
            max_update_bytes: 4096,
        }
    }

    fn pin(&self) -> Result<PinnedUpdate, UpdateError> {
        self.updates.pin(&self.workdir, self.expected())
    }

    /// What the pinned update changes, as one vector.
    fn flatten(&self, pinned: &PinnedUpdate) -> Result<Vec<f32>, UpdateError> {
        let update = self.updates.pinned(&pinned.blob)?;
        let (layout, selection) = (self.run.layout(), self.run.selection());
        let update = Checkpoint::update(&update, layout)?;
        let global = Checkpoint::model(&self.global, layout)?;
        Ok(Delta::new(&global, &update, layout, selection)?.whole()?)
    }

    /// Pinning fails, and nothing stays behind.
    fn refusal(&self) -> UpdateError {
        let error = self.pin().unwrap_err();
        let pinned = fs::read_dir(
            self.dir
                .path()
                .join("updates")
                .join(self.run.run_id().to_string()),
        )
        .unwrap();
        assert_eq!(pinned.count(), 0);
        error
    }
}

fn tensors() -> [Tensor<'static>; 2] {
    [
        ("w", Dtype::F32, &[2, 1], f32s(&[1.5, 1.0])),
        ("b", Dtype::F32, &[1], f32s(&[0.75])),
    ]
}

fn weights() -> Vec<u8> {
    file(&tensors(), None)
}

#[test]
fn a_good_update_is_pinned_byte_for_byte() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    assert_eq!(pinned.blob, BlobRef::of(&weights()));
    assert_eq!(fs::read(&pinned.path).unwrap(), weights());
    assert_eq!(
        fs::metadata(&pinned.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!((pinned.num_examples, pinned.weight), (40, 40));
    assert_eq!(
        pinned.metrics,
        [("accuracy".into(), 0.5), ("loss".into(), 1.25)].into()
    );
}

#[test]
fn weights_and_deltas_flatten_to_what_training_changed() {
    // In the order of the model's data: b before w.
    for (kind, expected) in [
        (None, [0.25, 0.5, -1.0]),
        (Some("weights"), [0.25, 0.5, -1.0]),
        (Some("delta"), [0.75, 1.5, 1.0]),
    ] {
        let site = Site::with(&file(&tensors(), kind), RESULT);
        let pinned = site.pin().unwrap();
        assert_eq!(site.flatten(&pinned).unwrap(), expected);
    }
}

#[test]
fn the_lanes_are_those_of_the_run() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    let metadata = site.run.metadata();
    assert_eq!(
        pinned.metadata,
        metadata.encode(40, 40, &pinned.metrics).unwrap()
    );
}

#[test]
fn pinning_the_same_update_again_is_no_error() {
    let site = Site::with(&weights(), RESULT);
    assert_eq!(site.pin().unwrap(), site.pin().unwrap());
}

#[test]
fn runs_do_not_share_updates() {
    let site = Site::with(&weights(), RESULT);
    let other = Updates::open(site.dir.path(), &RunId::from_bytes([9; 16])).unwrap();
    let pinned = site.pin().unwrap();
    let theirs = other.pin(&site.workdir, site.expected()).unwrap();
    assert_ne!(pinned.path, theirs.path);
    other.erase(&theirs.blob).unwrap();
    assert!(pinned.path.exists());
}

#[test]
fn nothing_the_trainer_does_later_changes_a_pinned_update() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    fs::write(site.workdir.update(), "garbage").unwrap();
    assert!(site.flatten(&pinned).is_ok());
}

#[test]
fn a_pinned_update_that_was_changed_or_is_gone_is_never_used() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    let flatten = || site.flatten(&pinned);
    let mut longer = weights();
    longer.push(0);
    let mut other = weights();
    *other.last_mut().unwrap() ^= 1;
    for changed in [&longer[..], &other, &weights()[1..], b""] {
        fs::write(&pinned.path, changed).unwrap();
        assert!(matches!(flatten(), Err(UpdateError::Changed { .. })));
    }
    fs::remove_file(&pinned.path).unwrap();
    assert!(matches!(flatten(), Err(UpdateError::Changed { .. })));
}

#[test]
fn an_update_that_changes_or_shrinks_while_it_is_read_is_not_vouched_for() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    let reading = site.updates.pinned(&pinned.blob).unwrap();
    site.updates.still(&pinned.blob, &reading).unwrap();
    let mut other = weights();
    *other.last_mut().unwrap() ^= 1;
    for changed in [&other[..], &weights()[1..], b""] {
        fs::write(&pinned.path, changed).unwrap();
        let found = site.updates.still(&pinned.blob, &reading);
        assert!(matches!(found, Err(UpdateError::Changed { .. })));
    }
}

#[test]
fn erasing_an_update_may_repeat() {
    let site = Site::with(&weights(), RESULT);
    let pinned = site.pin().unwrap();
    for _ in 0..2 {
        site.updates.erase(&pinned.blob).unwrap();
        assert!(!pinned.path.exists());
    }
}

#[test]
fn a_missing_file_says_where_it_should_have_been() {
    for (present, missing) in [
        (Output::Result, Output::Update),
        (Output::Update, Output::Result),
    ] {
        let site = Site::new();
        match present {
            Output::Result => fs::write(site.workdir.result(), RESULT).unwrap(),
            Output::Update => fs::write(site.workdir.update(), weights()).unwrap(),
        }
        let error = site.refusal();
        assert!(matches!(error, UpdateError::Missing { file, .. } if file == missing));
        assert!(error.to_string().contains(missing.variable()), "{error}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let place = |site: &Site, file| match file {
        Output::Update => site.workdir.update(),
        Output::Result => site.workdir.result(),
    };
    let check = |make: &dyn Fn(&Path), expected: FoundKind| {
        for output in [Output::Update, Output::Result] {
            let site = Site::with(&weights(), RESULT);
            let path = place(&site, output);
            fs::remove_file(&path).unwrap();
            make(&path);
            let error = site.refusal();
            assert!(
                matches!(error, UpdateError::NotAFile { file, found, .. } if file == output && found == expected),
                "{error}"
            );
        }
    };
    check(&|path| fs::create_dir(path).unwrap(), FoundKind::Directory);
    check(
        &|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(),
        FoundKind::SymbolicLink,
    );
    check(
        &|path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
        FoundKind::SymbolicLink,
    );
    check(
        &|path| {
            let mkfifo = std::process::Command::new("mkfifo")
                .arg(path)
                .status()
                .unwrap();
            assert!(mkfifo.success());
        },
        FoundKind::Pipe,
    );
}

#[test]
fn an_update_longer_than_the_policy_allows_is_refused_with_both_lengths() {
    let site = Site::with(&vec![0; 4097], RESULT);
    let error = site.refusal();
    assert!(matches!(
        error,
        UpdateError::TooLong {
            len_bytes: 4097,
            limit_bytes: 4096,
            ..
        }
    ));
    assert!(error.to_string().contains("policy.max_update"));
}

#[test]
fn a_sparse_file_of_a_terabyte_is_refused_by_its_length() {
    let site = Site::with(b"", RESULT);
    File::create(site.workdir.update())
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(matches!(
        site.refusal(),
        UpdateError::TooLong {
            len_bytes: 0x100_0000_0000,
            ..
        }
    ));
}

#[test]
fn an_update_that_is_no_safetensors_file_is_refused() {
    for garbage in [&b""[..], b"garbage", &[0xff; 64], &weights()[..20]] {
        let error = Site::with(garbage, RESULT).refusal();
        assert!(matches!(error, UpdateError::Tensors(_)), "{error}");
    }
}

#[test]
fn every_number_must_be_finite() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut tensors = tensors();
        tensors[0].3 = f32s(&[1.0, bad]);
        let error = Site::with(&file(&tensors, None), RESULT).refusal();
        match error {
            UpdateError::Tensors(ModelError::NotFinite { tensor, index, .. }) => {
                assert_eq!((tensor.as_str(), index), ("w", 1));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn tensors_must_be_those_of_the_model() {
    let mut shape = tensors();
    shape[0] = ("w", Dtype::F32, &[1, 2], f32s(&[1.0, 2.0]));
    let mut dtype = tensors();
    dtype[1] = ("b", Dtype::I32, &[1], 1_i32.to_le_bytes().to_vec());
    let mut name = tensors();
    name[1].0 = "bias";
    for (tensors, named) in [
        (&shape[..], "`w`"),
        (&dtype, "`b`"),
        (&name, "`bias`"),
        (&tensors()[..1], "`b`"),
    ] {
        let error = Site::with(&file(tensors, None), RESULT).refusal();
        assert!(matches!(error, UpdateError::Tensors(_)), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_kind_that_is_neither_weights_nor_delta_is_refused() {
    let error = Site::with(&file(&tensors(), Some("gradient")), RESULT).refusal();
    assert!(error.to_string().contains("gradient"), "{error}");
}

#[test]
fn a_result_must_be_the_json_that_was_asked_for() {
    for result in [
        "",
        "garbage",
        "[]",
        "{}",
        r#"{"metrics": {"accuracy": 0.5, "loss": 1.0}}"#,
        r#"{"num_examples": -1, "metrics": {}}"#,
        r#"{"num_examples": 1.5, "metrics": {}}"#,
        r#"{"num_examples": "40", "metrics": {}}"#,
        r#"{"num_examples": 40, "metrics": {"accuracy": NaN, "loss": 1.0}}"#,
        r#"{"num_examples": 40, "metrics": {"accuracy": 1e999, "loss": 1.0}}"#,
        r#"{"num_examples": 40, "metrics": {"accuracy": null, "loss": 1.0}}"#,
        r#"{"num_examples": 40, "metrics": {}, "comment": "hello"}"#,
    ] {
        let error = Site::with(&weights(), result).refusal();
        assert!(
            matches!(error, UpdateError::Result { .. }),
            "{result}: {error}"
        );
        assert!(error.to_string().contains("num_examples"), "{error}");
    }
}

#[test]
fn a_result_longer_than_64_kib_is_refused() {
    let error = Site::with(&weights(), &" ".repeat(65_537)).refusal();
    let limit = 65_536;
    assert!(
        matches!(error, UpdateError::TooLong { file: Output::Result, limit_bytes, .. } if limit_bytes == limit)
    );
}

#[test]
fn examples_weight_and_metrics_must_be_within_their_bounds() {
    let with = |examples: u64, metrics: &str| {
        format!(r#"{{"num_examples": {examples}, "metrics": {metrics}}}"#)
    };
    for (result, said) in [
        (with(0, r#"{"accuracy": 0.5, "loss": 1}"#), "0 examples"),
        (with(101, r#"{"accuracy": 0.5, "loss": 1}"#), "at most 100"),
        (with(40, r#"{"accuracy": 1.5, "loss": 1}"#), "0 to 1"),
        (with(40, r#"{"accuracy": 0.5}"#), "`loss`"),
        (with(40, r#"{"accuracy": 0.5, "loss": 1, "f1": 0}"#), "`f1`"),
    ] {
        let error = Site::with(&weights(), &result).refusal();
        assert!(
            matches!(error, UpdateError::Metadata(_)),
            "{result}: {error}"
        );
        assert!(error.to_string().contains(said), "{error}");
    }
}
