//! What every run at this site shares: identity, rules, trainer, store, and the way to the coordinator.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use veilsum_common::{RunId, SiteName};
use veilsum_daemon::shutdown::Shutdown;
use veilsum_daemon::{binding, clock};
use veilsum_engine::policy::Policy;
use veilsum_secagg::keys::{BindingClaim, Identity, binding_message};
use veilsum_secagg::message::Advertisement;
use veilsum_secagg::participant::Binding;

use crate::journal::Journal;
use crate::link::Link;
use crate::models::Models;
use crate::trainer::Hook;

/// Life of a binding: it is made anew for every epoch, and an epoch lasts a week.
const BINDING_SECONDS: u64 = 30 * 24 * 3600;
/// Clocks of the sites may differ by this much.
const SKEW_SECONDS: u64 = 300;

/// A site.
pub struct Site {
    /// Its name, as in its certificate.
    pub name: SiteName,
    /// The organisation that its certificate speaks for.
    pub organisation: String,
    /// Its protocol identity.
    pub identity: Arc<Identity>,
    /// Its rules.
    pub policy: Policy,
    /// Its trainer.
    pub hook: Hook,
    /// Its certificate, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The certificate's key, PEM.
    pub key_pem: zeroize::Zeroizing<Vec<u8>>,
    /// Journal and files.
    pub data_dir: PathBuf,
    /// Rollback markers, outside the data directory.
    pub marker_dir: PathBuf,
    /// The coordinator.
    pub link: Link,
    /// When to stop.
    pub shutdown: Shutdown,
    /// One file for all runs, one writer at a time.
    pub journal: Mutex<Journal>,
}

/// A member's advertisement is not backed by its organisation.
#[derive(Debug, thiserror::Error)]
pub enum BackingError {
    /// It carries no certificate.
    #[error("member {index} of the roster carries no certificate")]
    NoCertificate {
        /// Its place.
        index: usize,
    },
    /// The certificate's signature on its identity key is wrong.
    #[error("member {index} of the roster: {source}")]
    Binding {
        /// Its place.
        index: usize,
        /// What is wrong.
        source: binding::BindingError,
    },
}

impl Site {
    /// The journal; a poisoned lock only means that another run's task panicked between two transactions.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The models of a run.
    pub fn models(&self, run: RunId) -> Models {
        let limit_bytes = self.policy.max_update_bytes;
        Models::new(self.link.clone(), run, &self.data_dir, limit_bytes)
    }

    /// The organisation's word on this site's identity key, made with its certificate's key.
    ///
    /// # Errors
    /// [`binding::BindingError`] if the key is of a kind that may not sign it.
    pub fn binding(&self) -> Result<Binding, binding::BindingError> {
        let now = clock::now().0 / 1000;
        let claim = BindingClaim {
            organisation: self.organisation.clone(),
            site: self.name.to_string(),
            not_before: now.saturating_sub(SKEW_SECONDS),
            not_after: now + BINDING_SECONDS,
        };
        let message = binding_message(&claim.hash(&self.identity.public()));
        let message = message
            .as_slice()
            .try_into()
            .expect("a binding message has 63 bytes");
        let (scheme, signature) = binding::sign(&self.key_pem, message)?;
        Ok(Binding {
            claim,
            scheme,
            signature,
            chain: self.chain.clone(),
        })
    }

    /// Checks every member's binding under the certificate it carries, then drops both: what counts from here on is the pinned id.
    ///
    /// # Errors
    /// [`BackingError`] names the first member whose binding does not hold.
    pub fn check_bindings(&self, roster: &mut [Advertisement]) -> Result<(), BackingError> {
        for (index, member) in roster.iter_mut().enumerate() {
            let leaf = member
                .chain
                .first()
                .ok_or(BackingError::NoCertificate { index })?;
            let message = binding_message(&member.binding.hash(&member.id_pk));
            let message = message
                .as_slice()
                .try_into()
                .expect("a binding message has 63 bytes");
            binding::verify(
                leaf,
                member.binding_scheme,
                &member.binding_signature,
                message,
            )
            .map_err(|source| BackingError::Binding { index, source })?;
            member.chain.clear();
            member.binding_signature.clear();
            member.binding_scheme = 0;
        }
        Ok(())
    }
}
