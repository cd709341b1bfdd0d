//! The few system calls that need `unsafe`.
