//! Fault evidence: it convinces whoever has the signed bytes, and no honest party is ever convicted by any of it.

mod dealing;
mod honest;
mod twice;

use crate::evidence::{Conviction, CulpritKey, Evidence};

/// Whom the evidence convicts; it must.
fn convicted(evidence: &Evidence) -> Conviction {
    let conviction = evidence
        .verify()
        .unwrap_or_else(|why| panic!("{}: {why}", evidence.word()));
    assert_eq!(Some(conviction.culprit), evidence.culprit());
    conviction
}

/// The coordinator of every test run.
fn coordinator_key() -> CulpritKey {
    CulpritKey::Coordinator(super::kit::coordinator().public())
}
