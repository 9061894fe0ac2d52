//! No core dump of a process that holds secrets: a crash must not write them to disk, nor a neighbour under the same user read them.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps of this process and what it starts; on Linux also looking into it as another process of the same user.
///
/// # Errors
/// If the system refuses, which none is known to do.
pub fn forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
