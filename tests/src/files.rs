//! What trainers read and write: checkpoints, results, and the trainers themselves as shell scripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode};

use crate::federation::patiently;

/// Elements of the model that most tests train.
pub const ELEMENTS: usize = 8;

/// A safetensors file with one tensor `w`: its type, its shape and its bytes as they are.
pub fn tensor(dtype: &str, shape: &[usize], data: &[u8], kind: Option<&str>) -> Vec<u8> {
    let metadata = kind.map_or(String::new(), |kind| {
        format!(r#""__metadata__":{{"veilsum.kind":"{kind}"}},"#)
    });
    let header = format!(
        r#"{{{metadata}"w":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{}]}}}}"#,
        data.len()
    );
    let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let length = u64::try_from(padded.len()).unwrap();
    [&length.to_le_bytes(), padded.as_bytes(), data].concat()
}

/// A model: one f32 vector.
pub fn model(values: &[f32]) -> Vec<u8> {
    tensor("F32", &[values.len()], &bytes(values), None)
}

/// An update as a trainer writes it that computes differences.
pub fn delta(values: &[f32]) -> Vec<u8> {
    tensor("F32", &[values.len()], &bytes(values), Some("delta"))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The f32 values at the end of a checkpoint of one vector.
pub fn values(checkpoint: &[u8], elements: usize) -> Vec<f32> {
    let data = &checkpoint[checkpoint.len() - 4 * elements..];
    let (words, _) = data.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// A trainer that notes its round in `trained.log`, runs `first`, and hands in an update with a half in element `site`.
///
/// Files that `first` names lie in the site's directory, where it is started.
pub fn trainer(site: usize, dir: &Path, first: &str) -> Vec<String> {
    let mut update = vec![0.0; ELEMENTS];
    update[site % ELEMENTS] = 0.5;
    fs::write(dir.join("update.safetensors"), delta(&update)).unwrap();
    let result = r#"{"num_examples": 10, "metrics": {"loss": 1.5}}"#;
    fs::write(dir.join("result.json"), result).unwrap();
    let script = format!(
        "echo \"$VEILSUM_ROUND\" >> trained.log\n{first}\n\
         cp update.safetensors \"$VEILSUM_UPDATE_OUT\"\ncp result.json \"$VEILSUM_RESULT_OUT\"\n"
    );
    fs::write(dir.join("train.sh"), script).unwrap();
    vec!["sh".to_owned(), "train.sh".to_owned()]
}

/// Rounds in which a trainer was started, in order.
pub fn trained(dir: &Path) -> Vec<u64> {
    let text = fs::read_to_string(dir.join("trained.log")).unwrap_or_default();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// A named pipe between a test and a trainer.
pub struct Pipe(PathBuf);

/// Makes a named pipe.
pub fn pipe(path: &Path) -> Pipe {
    rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o600)).unwrap();
    Pipe(path.to_owned())
}

impl Pipe {
    /// Waits until the other end has written.
    pub async fn read(&self) -> String {
        let path = self.0.clone();
        let reading = tokio::task::spawn_blocking(move || fs::read_to_string(path).unwrap());
        patiently("nobody writes into the pipe", reading)
            .await
            .unwrap()
    }

    /// Waits until the other end reads.
    pub async fn write(&self) {
        let path = self.0.clone();
        let writing = tokio::task::spawn_blocking(move || fs::write(path, "go\n").unwrap());
        patiently("nobody reads from the pipe", writing)
            .await
            .unwrap();
    }
}

/// Waits until there is no such file any more.
pub async fn gone(path: &str) {
    patiently(&format!("{path} does not go away"), async {
        while Path::new(path).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
