//! A small disk of its own for a daemon, so that a full one is really full.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A file system in memory, mounted for one test.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// An empty one at `dir`, which is made. `None` where this process may not mount: the test says so aloud and ends.
    pub fn mount(dir: &Path, bytes: u64) -> Option<Self> {
        fs::create_dir_all(dir).unwrap();
        let options = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "veilsum-test"])
            .arg(dir)
            .output();
        let why = match mounted {
            Ok(said) if said.status.success() => return Some(Self(dir.to_owned())),
            Ok(said) => String::from_utf8_lossy(&said.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!(
            "SKIPPED: this needs a disk of its own, and mounting one is not allowed here: {why}"
        );
        None
    }

    /// Others come and take all room but so many bytes, in whole pages.
    pub fn leave(&self, bytes: u64) {
        let path = self.0.join(FILLER);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        // A daemon may take some of it in between: whoever comes too late looks again.
        for _ in 0..TRIES {
            let room = statvfs(&self.0).unwrap();
            let free = (room.f_bavail * room.f_frsize).saturating_sub(bytes);
            let len = file.metadata().unwrap().len();
            if free == 0 || fallocate(&file, FallocateFlags::empty(), len, free).is_ok() {
                return;
            }
        }
        panic!("somebody else takes and gives room all the time");
    }

    /// They go again.
    pub fn free(&self) {
        fs::remove_file(self.0.join(FILLER)).unwrap();
    }
}

/// Daemons that are still there keep what they have open until they end.
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted: io::Result<_> = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

const FILLER: &str = "filler";
const TRIES: u8 = 100;
