//! The models of a run: fetched once, by their hash, into a file that the trainer is given and the upload is computed against.
//!
//! A download that was cut off goes on where it stopped. A model is never whole in memory. What the file holds is checked against the hash
//! before each use, so that nothing here needs to be durable. Source: protocol, section 8 (step B).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::spawn_blocking;
use veilsum_common::RunId;
use veilsum_common::model::Source as _;
use veilsum_daemon::files::{self, Draft, FileError, Reading};
use veilsum_secagg::Digest;

use crate::link::{self, Link, LinkError};

/// A model of a run that has the announced hash.
#[derive(Clone)]
pub struct Model {
    /// Where it lies. Kept until a newer one is fetched.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Arc<Reading>,
}

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelFault {
    /// The coordinator does not give it, or gives something else.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// This site's disk.
    #[error(transparent)]
    Disk(#[from] FileError),
}

/// The models of one run at this site.
pub struct Models {
    link: Link,
    run: RunId,
    dir: PathBuf,
    limit_bytes: u64,
}

impl Models {
    /// Below the data directory; `limit_bytes` is the longest that this site accepts.
    pub fn new(link: Link, run: RunId, data_dir: &Path, limit_bytes: u64) -> Self {
        Self {
            link,
            run,
            dir: data_dir.join("models").join(run.to_string()),
            limit_bytes,
        }
    }

    /// The model with this hash: from the last fetch, or from the coordinator.
    ///
    /// # Errors
    /// [`ModelFault`]; nothing is trained on anything else.
    pub async fn get(&self, digest: Digest) -> Result<Model, ModelFault> {
        let path = self.dir.join(digest.to_string());
        let (there, known) = (path.clone(), self.limit_bytes);
        let found = blocking(move || found(&there, known, digest)).await;
        if let Some(bytes) = found {
            return Ok(Model { path, bytes });
        }
        let (dir, begin) = (self.dir.clone(), self.dir.clone());
        let draft = blocking(move || {
            files::private_directory(&dir)?;
            Draft::secret(&begin)
        });
        let draft = self.download(digest, draft.await?).await?;
        if draft.blob().digest != digest {
            return Err(LinkError::Model { expected: digest }.into());
        }
        let (dir, name) = (self.dir.clone(), path.clone());
        blocking(move || {
            let bytes = Arc::new(draft.read()?);
            draft.cache(&name)?;
            forget_others(&dir, &name);
            Ok(Model { path: name, bytes })
        })
        .await
    }

    /// All bytes of a model, asking again from the last one whenever the answer is cut off.
    async fn download(&self, digest: Digest, draft: Draft) -> Result<Draft, ModelFault> {
        let mut draft = draft;
        let mut backoff = link::backoff();
        loop {
            let offset = draft.len_bytes();
            let mut pieces = match self.link.model(self.run, digest, offset).await {
                Ok(pieces) => pieces,
                Err(error) => {
                    link::wait_out(error, &mut backoff).await?;
                    continue;
                }
            };
            loop {
                match pieces.next(draft.len_bytes()).await {
                    Ok(None) => return Ok(draft),
                    Ok(Some(data)) => {
                        let limit_bytes = self.limit_bytes;
                        if draft.len_bytes() + data.len() as u64 > limit_bytes {
                            return Err(LinkError::TooLong { limit_bytes }.into());
                        }
                        draft = blocking(move || draft.write(&data).map(|()| draft)).await?;
                        backoff = link::backoff();
                    }
                    Err(error) => {
                        link::wait_out(error, &mut backoff).await?;
                        break;
                    }
                }
            }
        }
    }
}

/// The file of an earlier fetch, if it still holds the model.
fn found(path: &Path, limit_bytes: u64, digest: Digest) -> Option<Arc<Reading>> {
    let bytes = Reading::open(path).ok()?;
    let fits = bytes.len_bytes() <= limit_bytes && bytes.blob().ok()?.digest == digest;
    fits.then(|| Arc::new(bytes))
}

/// Older models are not needed any more: a run goes forward only.
fn forget_others(dir: &Path, but: &Path) {
    for old in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if old.path() != but {
            drop(std::fs::remove_file(old.path()));
        }
    }
}

/// Work that waits for the disk, where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work)
        .await
        .expect("the work does not panic, and is not cancelled")
}
