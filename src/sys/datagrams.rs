//! Taking many datagrams from a socket with one system call, and what the kernel says of them.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::{NonNull, null_mut};

/// Most messages one [`Receiver::receive`] takes from the kernel.
const BATCH: usize = 64;
/// The same once the kernel merges datagrams: each message may then be 64 KiB of them, and a call is to be short.
const BATCH_MERGED: usize = 8;

/// Room for one datagram. UDP over IPv4 carries at most 65,507 bytes, over IPv6 without jumbograms 65,527.
const DATAGRAM: usize = 64 << 10;

/// From one datagram's room to the next. The odd KiB keeps their beginnings out of each other's cache sets: at a stride
/// of exactly 64 KiB all 64 would share the same few lines of L1 and L2.
const STRIDE: usize = DATAGRAM + (1 << 10);

/// Room for the control messages of one datagram: a drop counter and a size, 24 bytes each with their headers, and to
/// spare.
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
    /// How many it may fill.
    batch: usize,
    /// Where the datagrams of the last call lie in `memory`.
    datagrams: Vec<Place>,
}

/// Where a datagram lies.
#[derive(Clone, Copy)]
struct Place {
    start: u32,
    len: u32,
    cut: bool,
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
        Ok(Receiver {
            memory,
            _control: control,
            _pieces: pieces,
            headers,
            filled: 0,
            batch: BATCH,
            datagrams: Vec::with_capacity(BATCH),
        })
    }

    /// Takes what has arrived at the socket, without waiting, at least one datagram. False: there were no more. The
    /// datagrams of the call before are gone.
    ///
    /// Errors: `WouldBlock` if there are none, and whatever `recvmmsg(2)` says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.filled = 0;
        self.datagrams.clear();
        for header in &mut self.headers[..self.batch] {
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
                self.batch as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        self.filled = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let full = self.filled == self.batch;
        self.find_datagrams();
        Ok(full)
    }

    /// Tells the datagrams of the filled headers apart: one each, unless the kernel merged some of one size, of which
    /// only the last may be shorter.
    fn find_datagrams(&mut self) {
        let mut merged = false;
        for (at, header) in self.headers[..self.filled].iter().enumerate() {
            let (start, len) = ((at * STRIDE) as u32, header.msg_len);
            let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            let size = control(&header.msg_hdr, libc::SOL_UDP, libc::UDP_GRO).filter(|size| *size > 0);
            merged |= size.is_some();
            let size = size.unwrap_or(len).min(len);
            self.datagrams.push(Place { start, len: size, cut: cut && size == len });
            let mut done = size;
            while done < len {
                let size = size.min(len - done);
                self.datagrams.push(Place { start: start + done, len: size, cut: cut && done + size == len });
                done += size;
            }
        }
        self.batch = if merged { BATCH_MERGED } else { BATCH };
    }

    /// How many datagrams the last call received.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// Whether the last call received none.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// The datagram `index` of the last call, if there were so many.
    pub fn datagram(&self, index: usize) -> Option<Datagram<'_>> {
        let Place { start, len, cut } = *self.datagrams.get(index)?;
        let bytes = self.memory.bytes()[start as usize..].get(..len as usize)?;
        Some(Datagram { bytes, cut })
    }

    /// How many datagrams the kernel had thrown away at this socket, since it was opened, when the last one received
    /// was queued. Only after [`count_drops`], and `None` while there are none. Wraps at 2^32.
    pub fn drops(&self) -> Option<u32> {
        let header = self.headers[..self.filled].last()?;
        control(&header.msg_hdr, libc::SOL_SOCKET, libc::SO_RXQ_OVFL)
    }
}

/// The number that came with a message, in the control message of `level` and `kind`.
fn control(header: &libc::msghdr, level: libc::c_int, kind: libc::c_int) -> Option<u32> {
    // SAFETY: only headers that the kernel filled in `receive` come here. It set `msg_controllen` to what it wrote into
    // their `Control`, which is aligned for a `cmsghdr` and still owned by the receiver. The CMSG macros stay within that
    // length, and a number is read only from a message of a level and kind that carry four bytes.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(head) = message.as_ref() {
            if (head.cmsg_level, head.cmsg_type) == (level, kind) {
                return Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    None
}

/// Asks the kernel to say with each datagram how many it has thrown away (`SO_RXQ_OVFL`, socket(7)).
pub fn count_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Lets the kernel hand over many datagrams of one sender as one message, which [`Receiver`] takes apart again (UDP_GRO,
/// udp(7)). It merges those that came merged: by the network card, or by a sender on this host.
///
/// Errors: a kernel before Linux 5.0.
pub fn receive_merged(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Asks for a receive buffer of `bytes`, beyond `net.core.rmem_max` where we are allowed to, and says how many were
/// granted.
pub fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // Only CAP_NET_ADMIN may pass the limit; everyone else gets what the limit allows.
    if set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, wanted)?;
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

fn set_option(socket: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes at the pointer, which is a `c_int` alive for the call. A wrong
    // descriptor or option is an error, not undefined.
    let done = unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
            assert_eq!(receiver.receive(to.as_fd()).unwrap(), expected == BATCH);
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
        assert!(!receiver.receive(to.as_fd()).unwrap());
        assert_eq!(receiver.len(), 2);
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
        receiver.receive(to.as_fd()).unwrap();
        let mut got = receiver.len();
        assert!(got < sent);
        assert_eq!(drops(to.as_fd()).unwrap(), (sent - got) as u32, "and at once when asked for");
        from.send(b"last").unwrap();
        receiver.receive(to.as_fd()).unwrap();
        got += receiver.len();
        assert_eq!(receiver.drops(), Some((sent + 1 - got) as u32));
    }

    #[test]
    fn datagrams_that_were_merged_are_told_apart_again() {
        let (to, from) = pair();
        if receive_merged(to.as_fd()).is_err() {
            return;
        }
        // UDP_SEGMENT: one call sends as many datagrams as there are pieces of 100 bytes.
        set_option(from.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 100).unwrap();
        let mut receiver = Receiver::new().unwrap();
        let bytes: Vec<u8> = (0..6_030u32).map(|n| (n / 100) as u8).collect();
        for sent in [&bytes[..], b"short", &bytes[..200]] {
            from.send(sent).unwrap();
        }
        assert!(!receiver.receive(to.as_fd()).unwrap());
        let got: Vec<_> = (0..receiver.len()).map(|at| receiver.datagram(at).unwrap().bytes).collect();
        let expected: Vec<_> =
            bytes.chunks(100).chain([&b"short"[..]]).chain(bytes[..200].chunks(100)).collect();
        assert_eq!(got, expected);
        // From then on a call takes few messages, as each may hold many.
        for _ in 0..BATCH_MERGED + 1 {
            from.send(&bytes).unwrap();
        }
        for expected in [BATCH_MERGED, 1] {
            assert_eq!(receiver.receive(to.as_fd()).unwrap(), expected == BATCH_MERGED);
            assert_eq!(receiver.len(), expected * 61);
        }
    }

    #[test]
    fn a_receive_buffer_is_what_was_asked_for_or_less_and_never_silently() {
        let (to, _) = pair();
        let granted = set_receive_buffer(to.as_fd(), 100_000).unwrap();
        assert_eq!(granted, 100_000, "every system allows this much");
    }
}
