//! The atomics, cells and locks the hallway is built on: the real ones, or loom's.
//!
//! Built with `--cfg loom` the same source files run under loom's scheduler, so `tests/loom.rs` checks what ships and
//! not a copy of it. The two sides differ only here, and both are cut to the same small shape: a lock that cannot be
//! poisoned, a condition variable that takes the guard and hands it back, a cell that lends its pointer to a closure.
//! Not here: parking (see [`super::wait`]), which is written once on top of these.

pub use imp::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, UnsafeCell, fence, spin_loop,
};
pub use std::sync::atomic::Ordering;

#[cfg(not(loom))]
mod imp {
    pub use parking_lot::{Mutex, MutexGuard};
    pub use std::hint::spin_loop;
    pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, fence};

    /// A condition variable; waiting takes the guard and hands it back.
    #[derive(Default)]
    pub struct Condvar(parking_lot::Condvar);

    impl Condvar {
        /// A condition variable nobody waits on.
        pub fn new() -> Self {
            Self::default()
        }

        /// Lets go of the lock, sleeps until told (or for no reason: look again), takes the lock back.
        pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(&mut guard);
            guard
        }

        /// Wakes one thread that waits here, if there is one.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
    }

    /// A cell whose pointer is lent to a closure, so that loom can see how long it is used.
    #[repr(transparent)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell that holds `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Lends the pointer. Following it is the caller's argument to make.
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod imp {
    pub use loom::cell::UnsafeCell;
    pub use loom::hint::spin_loop;
    pub use loom::sync::MutexGuard;
    pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, fence};
    use std::sync::PoisonError;

    /// Loom's lock, without poison: a panic under a lock is part of what the models show.
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// A free lock around `value`.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Takes the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Loom's condition variable in the shape of the shipped one.
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        /// A condition variable nobody waits on.
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// Lets go of the lock, sleeps until told, takes the lock back.
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }

        /// Wakes one thread that waits here, if there is one.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
    }
}
