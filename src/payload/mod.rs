//! Entries as bytes: what a record of a disk buffer, or of the dead letters, holds.
//!
//! A payload stands on its own and knows no sink: it carries the streams its entries came by, and then the entries with
//! time, text, flags and fields. So another config, or another program, can read it. `docs/format.md` describes the
//! layout. [`Encoder`] writes it, [`Decoder`] reads it back into blocks.
//!
//! Both are made for speed: an entry is a fixed row and a copy of its text, and nothing is allocated for it.
//!
//! Not here: records, checksums and files (see `buffer`).

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Malformed};
pub use encode::{Added, Encoder};

/// The version of the layout, the first byte of every payload.
pub const VERSION: u8 = 1;

/// Version, three bytes of zero, how many entries there are (`u32`).
const HEAD: usize = 8;
/// An item that describes a stream: the next chunk is the first of it.
const STREAM: u8 = 1;
/// The same of a stream whose one entry was a dead letter and is given again.
const AGAIN: u8 = 3;
/// What such a description has more: how often it was given again (`u32`), when it failed first (`u64`).
const AGAIN_LEN: usize = 12;
/// An item that holds entries of one stream.
const CHUNK: u8 = 2;
/// Kind, a zero, number of the stream (`u16`), entries, fields, bytes beside the text, bytes of text (each `u32`).
const CHUNK_HEAD: usize = 20;
/// Time (`i64`), length of the text (`u32`), fields (`u16`), flags (`u8`), bytes between the entry before and this one
/// (`u8`).
const ROW: usize = 16;
/// Where the key and the value begin and how long the value is (each `u32`), length of the key (`u16`), where the key
/// stands (`u8`), where the value stands and how it is read (`u8`).
const FIELD: usize = 16;
/// A piece of the chunk's text, within the entry's own.
const IN_TEXT: u8 = 0;
/// A piece of the bytes beside the text.
const BESIDE: u8 = 1;
/// Most streams of one payload.
const STREAMS_MAX: usize = 1 << 16;
