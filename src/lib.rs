//! Ringmain: a log dispatcher on plain threads.
//!
//! Entries walk one way: source, ring, worker, sequencer, lane, sink. Two small words walk back, *full* and
//! *acknowledged*. `ARCHITECTURE.md` is the map; the modules below stand in the order of its floors.
//!
//! `unsafe` is denied everywhere except in the modules that allow it by name here: [`ring`], [`pool`], [`sys`] and
//! [`simd`].

pub mod cli;

pub mod dispatcher;

pub mod engine;

pub mod admin;
pub mod config;

pub mod delivery;
pub mod lane;
pub mod sequencer;
pub mod tap;
pub mod worker;

pub mod buffer;
pub mod sinks;
pub mod sources;
pub mod steps;

pub mod ack;
pub mod batch;
pub mod checkpoint;
pub mod expr;
pub mod ledger;
pub mod payload;
pub mod route;

pub mod block;
pub mod entry;
pub mod labels;
#[allow(unsafe_code)]
pub mod pool;

pub mod auth;
pub mod clock;
pub mod cpu_limit;
pub mod http;
pub mod logs;
pub mod metrics;
#[allow(unsafe_code)]
pub mod ring;
pub mod secret;
#[allow(unsafe_code)]
pub mod simd;
pub mod storage_io;
#[allow(unsafe_code)]
pub mod sys;
pub mod thread;
pub mod time;
pub mod tls;
pub mod units;
