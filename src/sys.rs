//! The few system calls that need `unsafe`: many datagrams at once, and the socket options and clocks that no safe
//! wrapper of ours has.
//!
//! Everything here is Linux, and safe to call. Not here: what datagrams mean (see `sources::net`).

mod datagrams;

pub use datagrams::{Datagram, Receiver, count_drops, drops, receive_merged, set_receive_buffer};

use std::time::Duration;

/// CPU time this process has used, all threads together, in user and kernel.
pub fn process_cpu() -> Duration {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time the calling thread has used, in user and kernel.
pub fn thread_cpu() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(id: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to the pointer, which is valid for it. Both ids above exist on every
    // Linux; were one refused, `time` would stay zero.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Gives memory that the allocator keeps for later back to the system, and has it keep less: what many threads keep apart
/// counts as ours, whether it is used or not.
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: both only touch the allocator's own memory, under its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bounds in how many places the allocator keeps memory: by itself in eight times as many as there are cores.
pub fn keep_memory_together() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a number that the allocator looks at under its own lock.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Enough for those threads that do allocate not to wait for each other.
#[cfg(target_env = "gnu")]
const ARENAS: libc::c_int = 4;

/// Stops the whole process, as SIGTSTP does where nobody listens for it, and comes back when it goes on: at once where nobody
/// is there who could have it go on (an orphaned process group; SIGSTOP would stop it for good there).
pub fn stop() {
    // SAFETY: both structures are plain data, for which zeros are valid, and the kernel reads or writes one of each.
    // What listened before is put back as the kernel gave it. A further SIGTSTP in between stops us too, as it should.
    unsafe {
        let (mut alone, mut heard): (libc::sigaction, libc::sigaction) =
            (std::mem::zeroed(), std::mem::zeroed());
        alone.sa_sigaction = libc::SIG_DFL;
        if libc::sigaction(libc::SIGTSTP, &raw const alone, &raw mut heard) == 0 {
            libc::raise(libc::SIGTSTP);
            libc::sigaction(libc::SIGTSTP, &raw const heard, std::ptr::null_mut());
        }
    }
}

/// Bytes of this process' memory that are in RAM; zero where the system does not say.
pub fn resident_memory() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.map_or(0, |pages| pages.saturating_mul(rustix::param::page_size()))
}

/// Lets this process have no more than `most` descriptors open, or as many as its hard limit allows. Those above it that
/// are open stay so.
pub fn limit_open_files(most: Option<usize>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = match most {
        Some(most) => Some(limit.maximum.map_or(most as u64, |maximum| maximum.min(most as u64))),
        None => limit.maximum,
    };
    if limit.current != current {
        // Whoever is not let stays with what there was: connections wait at it, and it is said.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    }
}

/// Lets this process open as many files as its hard limit allows. The soft one, mostly 1024, is there for programs that
/// call `select`; a source alone takes more connections.
pub fn raise_open_files() {
    limit_open_files(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_open_files_rises_to_the_hard_one() {
        raise_open_files();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }

    #[test]
    fn cpu_time_only_grows_and_a_thread_has_no_more_of_it_than_its_process() {
        let before = thread_cpu();
        let sum = (0..1_000_000u64).fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
        assert_ne!(sum, 1);
        let (thread, process) = (thread_cpu(), process_cpu());
        assert!(before < thread && thread <= process);
    }
}
