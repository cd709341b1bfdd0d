//! Page-aligned memory.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The alignment of every buffer: one page, as the kernel copies fastest into it.
pub const PAGE: usize = 4096;

/// Buffers of this size and more are mappings of their own: what is given back goes to the system at once. Through the
/// allocator it stays where it was, between others that are in use, and counts as ours.
const MAPPED_FROM: usize = 64 << 10;

/// A zeroed, page-aligned buffer of fixed size.
pub struct Pages {
    start: NonNull<u8>,
    len: usize,
    /// It is a mapping; otherwise the allocator's.
    mapped: bool,
}

impl Pages {
    /// A buffer of at least `len` bytes, rounded up to whole pages.
    pub fn new(len: usize) -> Self {
        let len = len.max(1).next_multiple_of(PAGE);
        if len >= MAPPED_FROM
            && let Some(start) = Self::map(len)
        {
            return Pages { start, len, mapped: true };
        }
        let layout = Self::layout(len);
        // SAFETY: the layout's size is at least one page, so not zero.
        let start = unsafe { alloc_zeroed(layout) };
        match NonNull::new(start) {
            Some(start) => Pages { start, len, mapped: false },
            None => handle_alloc_error(layout),
        }
    }

    /// A mapping of `len` bytes, unless the system has no more of them to give (`vm.max_map_count`).
    fn map(len: usize) -> Option<NonNull<u8>> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: an anonymous private mapping at an address of the system's choice touches no memory that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0) };
        NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED)
    }

    fn layout(len: usize) -> Layout {
        match Layout::from_size_align(len, PAGE) {
            Ok(layout) => layout,
            Err(_) => panic!("a buffer of {len} bytes does not fit the address space"),
        }
    }
}

impl Deref for Pages {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` bytes that `new` allocated or mapped zeroed and that live until `drop`; `&self`
        // keeps writers out, as writing takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes this the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: `map` mapped these `len` bytes, and nobody else unmaps them or looks at them any more. Should the
            // system refuse, they stay mapped: that costs memory and harms nobody.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
            return;
        }
        // SAFETY: `new` allocated these pages with this very layout, and nobody else frees them.
        unsafe { dealloc(self.start.as_ptr(), Self::layout(self.len)) }
    }
}

// SAFETY: the pages belong to this value alone, like a `Box<[u8]>`, which may cross and be shared between threads.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_zeroed_and_whole() {
        let mut pages = Pages::new(5000);
        assert_eq!((pages.len(), pages.as_ptr() as usize % PAGE), (8192, 0));
        assert!(pages.iter().all(|byte| *byte == 0));
        pages[8191] = 7;
        assert_eq!(pages[8191], 7);
    }

    #[test]
    fn large_pages_are_mappings_of_their_own_and_go_back_at_once() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE
        };
        let (size, before) = (64 << 20, resident());
        let mut pages = Pages::new(size);
        assert!(pages.mapped && pages.iter().step_by(PAGE).all(|byte| *byte == 0));
        pages.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        let full = resident();
        assert!(full > before + size / 2, "{before} {full}");
        drop(pages);
        assert!(resident() < full - size / 2);
        assert!(!Pages::new(MAPPED_FROM - PAGE).mapped);
    }
}
