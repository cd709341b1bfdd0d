//! The few system calls that need `unsafe`: many datagrams at once, and the socket options and clocks that no safe
//! wrapper of ours has.
//!
//! Everything here is Linux, and safe to call. Not here: what datagrams mean (see `sources::net`).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

/// Most datagrams one [`Receiver::receive`] takes.
pub const BATCH: usize = 64;

/// Room for one datagram. UDP over IPv4 carries at most 65,507 bytes, over IPv6 without jumbograms 65,527.
const DATAGRAM: usize = 64 << 10;

/// From one datagram's room to the next. The odd KiB keeps their beginnings out of each other's cache sets: at a stride
/// of exactly 64 KiB all 64 would share the same few lines of L1 and L2.
const STRIDE: usize = DATAGRAM + (1 << 10);

/// Room for the control messages of one datagram: a drop counter (24 bytes with its header) and to spare.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 64]);

/// Receives many datagrams with one system call (`recvmmsg`).
///
/// Its 4 MiB are address space; memory is taken only for the pages that datagrams have touched.
pub struct Receiver {
    memory: Mapping,
    /// Where the kernel puts the control messages; `headers` point into it.
    _control: Box<[Control; BATCH]>,
    /// One per header, pointing into `memory`.
    _pieces: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    /// How many headers the last call filled.
    filled: usize,
}

// SAFETY: the pointers in `_pieces` and `headers` lead only to `memory`, `_control` and `_pieces`, which this value
// owns on the heap and never replaces; so they stay right, and unshared, when it moves to another thread.
unsafe impl Send for Receiver {}

/// One received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// It was longer than there was room; the end is lost.
    pub cut: bool,
}

impl Receiver {
    /// A receiver that holds no datagram.
    ///
    /// Errors: no address space.
    pub fn new() -> io::Result<Self> {
        let memory = Mapping::new(BATCH * STRIDE)?;
        let mut control = Box::new([Control([0; 64]); BATCH]);
        let mut pieces = Box::new([libc::iovec { iov_base: null_mut(), iov_len: 0 }; BATCH]);
        // SAFETY: `mmsghdr` is a C struct of integers and pointers, for which all zeros is a value (no name, no data).
        let mut headers: Box<[libc::mmsghdr; BATCH]> = Box::new(unsafe { std::mem::zeroed() });
        for at in 0..BATCH {
            let room = memory.start.as_ptr().wrapping_add(at * STRIDE);
            pieces[at] = libc::iovec { iov_base: room.cast(), iov_len: DATAGRAM };
            let header = &mut headers[at].msg_hdr;
            header.msg_iov = &raw mut pieces[at];
            header.msg_iovlen = 1;
            header.msg_control = control[at].0.as_mut_ptr().cast();
        }
        Ok(Receiver { memory, _control: control, _pieces: pieces, headers, filled: 0 })
    }

    /// Takes what has arrived at the socket, without waiting: how many datagrams, at least one and at most [`BATCH`].
    /// Fewer than that means that there are no more. The datagrams of the call before are gone.
    ///
    /// Errors: `WouldBlock` if there are none, and whatever `recvmmsg(2)` says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        for header in self.headers.iter_mut() {
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            header.msg_hdr.msg_flags = 0;
        }
        // SAFETY: the headers are valid and, by `new`, each points to one piece of `DATAGRAM` bytes of memory and to
        // one `Control`, all alive and written by nobody else while `&mut self` is held. The kernel writes no more than
        // the lengths given (`msg_controllen` was set again above, as the last call changed it). No timeout is passed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        self.filled = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled)
    }

    /// How many datagrams the last call received.
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether the last call received none.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The datagram `index` of the last call, if there were so many.
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let header = self.headers[..self.filled].get(index)?;
        let bytes = self.memory.bytes()[index * STRIDE..][..DATAGRAM].get(..header.msg_len as usize)?;
        Some(Datagram { bytes, cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 })
    }

    /// How many datagrams the kernel had thrown away at this socket, since it was opened, when the last one received
    /// was queued. Only after [`count_drops`], and `None` while there are none. Wraps at 2^32.
    pub fn drops(&self) -> Option<u32> {
        let header = &self.headers[..self.filled].last()?.msg_hdr;
        // SAFETY: the kernel filled this header in `receive` and set `msg_controllen` to what it wrote into its
        // `Control`, which is aligned for a `cmsghdr` and still owned by us. The CMSG macros stay within that length,
        // and a counter is read only from a message of that level and type, which carries 4 bytes.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(header);
            while let Some(head) = message.as_ref() {
                if (head.cmsg_level, head.cmsg_type) == (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) {
                    return Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
                }
                message = libc::CMSG_NXTHDR(header, message);
            }
        }
        None
    }
}

/// Asks the kernel to say with each datagram how many it has thrown away (`SO_RXQ_OVFL`, socket(7)).
pub fn count_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SO_RXQ_OVFL, 1)
}

/// Asks for a receive buffer of `bytes`, beyond `net.core.rmem_max` where we are allowed to, and says how many were
/// granted.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // Only CAP_NET_ADMIN may pass the limit; everyone else gets what the limit allows.
    if set_option(socket.as_raw_fd(), libc::SO_RCVBUFFORCE, wanted).is_err() {
        set_option(socket.as_raw_fd(), libc::SO_RCVBUF, wanted)?;
    }
    // socket(7): the kernel doubles the value for its own bookkeeping, and that is what it gives back.
    Ok(socket2::SockRef::from(&socket).recv_buffer_size()? / 2)
}

/// How many packets the kernel has thrown away at the socket since it was opened, now (`SO_MEMINFO`). With the messages
/// of [`count_drops`] this is only known up to the last datagram that was kept. Wraps at 2^32.
pub fn drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // Of include/uapi/asm-generic/socket.h, which x86, ARM and RISC-V use; elsewhere it is an error.
    const SO_MEMINFO: libc::c_int = 55;
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize;
    let mut numbers = [0u32; DROPS + 1];
    let mut len = size_of_val(&numbers) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to the array, which has so many, and how many it wrote to `len`;
    // both are alive and ours.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            numbers.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    match done {
        0 if len as usize == size_of_val(&numbers) => Ok(numbers[DROPS]),
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set_option(socket: RawFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes at the pointer, which is a `c_int` alive for the call. A wrong
    // descriptor or option is an error, not undefined.
    let done = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

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

/// Zeroed memory straight from the kernel, taken page by page as it is touched.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this value alone, like a `Box<[u8]>`.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory that exists.
        let start = unsafe { libc::mmap(null_mut(), len, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the range is the mapping just made. The advice only concerns how it is backed: a huge page would take
        // 2 MiB for the first byte touched. A kernel that does not know it says so, which changes nothing.
        unsafe { libc::madvise(start, len, libc::MADV_NOHUGEPAGE) };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, len })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: `new` mapped `len` readable bytes at `start`, zeroed, and they stay until `drop`. The kernel writes
        // them only in `Receiver::receive`, under `&mut`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` mapped exactly this range, and nobody else unmaps it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn pair() -> (UdpSocket, UdpSocket) {
        let (to, from) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        from.connect(to.local_addr().unwrap()).unwrap();
        (to, from)
    }

    #[test]
    fn datagrams_arrive_whole_in_order_and_at_most_a_batch_at_a_time() {
        let (to, from) = pair();
        let mut receiver = Receiver::new().unwrap();
        assert_eq!(receiver.receive(to.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for n in 0..BATCH + 3 {
            from.send(format!("datagram {n}").as_bytes()).unwrap();
        }
        let mut got = Vec::new();
        for expected in [BATCH, 3] {
            assert_eq!(receiver.receive(to.as_fd()).unwrap(), expected);
            assert_eq!(receiver.len(), expected);
            got.extend((0..expected).map(|at| receiver.datagram(at).unwrap().bytes.to_vec()));
            assert_eq!(receiver.datagram(expected), None);
        }
        let sent: Vec<_> = (0..BATCH + 3).map(|n| format!("datagram {n}").into_bytes()).collect();
        assert_eq!(got, sent);
        assert_eq!(receiver.drops(), None);
        assert!(receiver.receive(to.as_fd()).is_err() && receiver.is_empty());
    }

    #[test]
    fn the_largest_and_the_empty_datagram_arrive_too() {
        let (to, from) = pair();
        let large: Vec<u8> = (0..65_507u32).map(|n| n as u8).collect();
        from.send(&large).unwrap();
        from.send(b"").unwrap();
        let mut receiver = Receiver::new().unwrap();
        assert_eq!(receiver.receive(to.as_fd()).unwrap(), 2);
        assert_eq!(receiver.datagram(0), Some(Datagram { bytes: &large, cut: false }));
        assert_eq!(receiver.datagram(1), Some(Datagram { bytes: b"", cut: false }));
    }

    #[test]
    fn what_the_kernel_threw_away_is_told_with_the_next_datagram() {
        let (to, from) = pair();
        count_drops(to.as_fd()).unwrap();
        // Smaller than it allows: the kernel takes its minimum, some 2 KiB, and a few datagrams fill it.
        set_receive_buffer(to.as_fd(), 1).unwrap();
        let mut receiver = Receiver::new().unwrap();
        let sent = 50;
        for _ in 0..sent {
            from.send(&[7; 500]).unwrap();
        }
        let mut got = receiver.receive(to.as_fd()).unwrap();
        assert!(got < sent);
        assert_eq!(drops(to.as_fd()).unwrap(), (sent - got) as u32, "and at once when asked for");
        from.send(b"last").unwrap();
        got += receiver.receive(to.as_fd()).unwrap();
        assert_eq!(receiver.drops(), Some((sent + 1 - got) as u32));
    }

    #[test]
    fn a_receive_buffer_is_what_was_asked_for_or_less_and_never_silently() {
        let (to, _) = pair();
        let granted = set_receive_buffer(to.as_fd(), 100_000).unwrap();
        assert_eq!(granted, 100_000, "every system allows this much");
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
