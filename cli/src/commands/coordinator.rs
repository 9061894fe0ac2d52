//! `veilsum coordinator`: the daemon of `veilsum-coordinator`, or its key.

use crate::args::{Coordinator, CoordinatorCommand};
use crate::commands::{csr, participant};
use crate::error::Error;
use crate::render::Output;

pub(crate) fn run(coordinator: Coordinator) -> Result<Output, Error> {
    match coordinator.command {
        Some(CoordinatorCommand::Csr(csr)) => csr::coordinator(&csr),
        None => {
            participant::follow_parent(&coordinator.parent)?;
            veilsum_coordinator::daemon(&coordinator.config).map_err(Error::Daemon)?;
            Ok(Output::default())
        }
    }
}
