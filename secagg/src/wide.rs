//! Loops over plain numbers, run with the widest vectors the processor has.
//!
//! A [`Job`] is ordinary safe code that the compiler translates once for each kind of processor; which translation runs is decided
//! when it is called. It knows nothing of what a job computes, and every translation computes the same bits.

/// Work on numbers, worth wide vectors.
pub trait Job {
    /// What it gives.
    type Output;

    /// The work. Mark the implementation `#[inline(always)]`: only code that is inlined is translated anew.
    fn run(self) -> Self::Output;
}

/// Runs `job` on the widest vectors there are.
pub fn run<J: Job>(job: J) -> J::Output {
    #[cfg(target_arch = "x86_64")]
    return crate::x86::run(job);
    #[cfg(not(target_arch = "x86_64"))]
    job.run()
}
