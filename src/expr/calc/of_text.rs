//! What is made of one text.

use super::net::{Net, address, is_private, masked};
use super::{At, Fault, Found, NO_NUMBER, Num, Scratch, Text, Val};
use crate::time::format::TimeFormat;
use jiff::tz::TimeZone;
use memchr::memmem::Finder;
use regex::bytes::Regex;
use std::io::Write;

/// What is made of it.
#[derive(Clone, Debug)]
pub enum OfText {
    /// The text itself.
    Text,
    Lower,
    Upper,
    Trim,
    /// How many characters it has.
    Length,
    /// What stands between two separators, counted from 0, or from the end as -1.
    Part(Finder<'static>, i64),
    /// Every place at which the finder finds something becomes the text.
    Replace(Finder<'static>, Box<str>),
    /// Every match, or its first group if there is one, becomes the text.
    ReplacePattern(Regex, Box<str>, usize),
    /// The first match, or its first group if there is one.
    Extract(Regex, usize),
    /// The number it is.
    Number,
    /// Whether it is an address in one of these.
    InCidr(Box<[Net]>),
    IsPrivate,
    IpVersion,
    /// How many bits are left of an address of IPv4, and of IPv6.
    IpMask(u8, u8),
    /// The time it is, read with the clock of this number.
    ParseTime(TimeFormat, TimeZone, usize),
    Crc32c,
    Fnv64,
    Sha256,
    HmacSha256(ring::hmac::Key),
}

impl OfText {
    /// What it makes of `text`; `None` if there is no such thing in it.
    pub fn find<'a>(&self, text: Text<'a>, at: At<'a>, scratch: &mut Scratch) -> Found<'a> {
        Ok(Some(match self {
            OfText::Text => Val::Text(text),
            OfText::Lower => {
                Val::Text(recase(text, scratch, <[u8]>::make_ascii_lowercase, char::to_lowercase)?)
            }
            OfText::Upper => {
                Val::Text(recase(text, scratch, <[u8]>::make_ascii_uppercase, char::to_uppercase)?)
            }
            OfText::Trim => {
                let bytes = scratch.bytes(text);
                let from = bytes.len() - bytes.trim_ascii_start().len();
                let to = from + bytes.trim_ascii().len();
                Val::Text(scratch.part(text, from, to))
            }
            OfText::Length => whole(scratch.bytes(text).iter().filter(|byte| begins(**byte)).count() as i64),
            OfText::Part(separator, place) => {
                let Some((from, to)) = part(scratch.bytes(text), separator, *place) else { return Ok(None) };
                Val::Text(scratch.part(text, from, to))
            }
            OfText::Replace(finder, with) => Val::Text(scratch.rewrite(text, |bytes, out| {
                let (mut done, found) = (0, finder.find_iter(bytes));
                for start in found {
                    out.push(&bytes[done..start])?;
                    out.push(with.as_bytes())?;
                    done = start + finder.needle().len();
                }
                out.push(&bytes[done..])
            })?),
            OfText::ReplacePattern(regex, with, number) => {
                let mut groups = scratch.groups(*number, regex);
                let made = scratch.rewrite(text, |bytes, out| {
                    let (mut done, mut from) = (0, 0);
                    while let Some(hit) = regex.captures_read_at(&mut groups, bytes, from) {
                        let (start, end) = groups.get(1).unwrap_or((hit.start(), hit.end()));
                        if start >= done && end > start {
                            out.push(&bytes[done..start])?;
                            out.push(with.as_bytes())?;
                            done = end;
                        }
                        from = if hit.end() > hit.start() { hit.end() } else { hit.end() + 1 };
                        if from > bytes.len() {
                            break;
                        }
                    }
                    out.push(&bytes[done..])
                });
                scratch.keep_groups(*number, groups);
                Val::Text(made?)
            }
            OfText::Extract(regex, number) => {
                let mut groups = scratch.groups(*number, regex);
                let hit = regex.captures_read(&mut groups, scratch.bytes(text));
                let place = hit.map(|hit| (hit.start(), hit.end()));
                let place = if groups.len() > 1 { place.and_then(|_| groups.get(1)) } else { place };
                scratch.keep_groups(*number, groups);
                let Some((from, to)) = place else { return Ok(None) };
                Val::Text(scratch.part(text, from, to))
            }
            OfText::Number => Val::Number(Num::parse(scratch.bytes(text)).ok_or(NO_NUMBER)?),
            OfText::InCidr(nets) => {
                let address = ip(text, scratch)?;
                Val::Bool(nets.iter().any(|net| net.has(address)))
            }
            OfText::IsPrivate => Val::Bool(is_private(ip(text, scratch)?)),
            OfText::IpVersion => whole(if ip(text, scratch)?.is_ipv4() { 4 } else { 6 }),
            OfText::IpMask(four, six) => {
                let address = ip(text, scratch)?;
                let address = masked(address, if address.is_ipv4() { *four } else { *six });
                // Writing to memory cannot fail.
                Val::Text(scratch.make(|out| out.append(|bytes| drop(write!(bytes, "{address}"))))?)
            }
            OfText::ParseTime(format, zone, number) => {
                let now = at.block.time();
                let clock = scratch.take_clock(*number, zone, now);
                let time = format.read(scratch.bytes(text), &clock);
                scratch.keep_clock(*number, clock);
                whole(time.ok_or(Fault("the text is no time of this format"))?)
            }
            OfText::Crc32c => whole(crc32c::crc32c(scratch.bytes(text)).into()),
            OfText::Fnv64 => hex(&fnv64(scratch.bytes(text)).to_be_bytes(), scratch)?,
            OfText::Sha256 => {
                let digest = ring::digest::digest(&ring::digest::SHA256, scratch.bytes(text));
                hex(digest.as_ref(), scratch)?
            }
            OfText::HmacSha256(key) => {
                let tag = ring::hmac::sign(key, scratch.bytes(text));
                hex(tag.as_ref(), scratch)?
            }
        }))
    }
}

fn whole<'a>(number: i64) -> Val<'a> {
    Val::Number(Num::Whole(number))
}

fn ip(text: Text<'_>, scratch: &Scratch) -> Result<std::net::IpAddr, Fault> {
    address(scratch.bytes(text)).ok_or(Fault("the text is no IP address"))
}

/// Whether a character begins with this byte (RFC 3629).
fn begins(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

/// `len` characters of `text` from the one at `from` on, counted from 0, or from the end as -1; all of them without `len`.
pub fn substr<'a>(text: Text<'a>, from: i64, len: Option<i64>, scratch: &Scratch) -> Text<'a> {
    let bytes = scratch.bytes(text);
    let count = || bytes.iter().filter(|byte| begins(**byte)).count() as i64;
    let from = if from < 0 { (count() + from).max(0) } else { from };
    let end = len.map_or(i64::MAX, |len| from.saturating_add(len.max(0)));
    let mut places = bytes.iter().enumerate().filter(|(_, byte)| begins(**byte)).map(|(at, _)| at);
    let mut place = |skip: i64| usize::try_from(skip).ok().and_then(|skip| places.nth(skip));
    let start = place(from).unwrap_or(bytes.len());
    let stop = if end > from { place(end - from - 1).unwrap_or(bytes.len()) } else { start };
    scratch.part(text, start, stop)
}

/// Where the part at `place` of `text` begins and ends.
fn part(text: &[u8], separator: &Finder<'_>, place: i64) -> Option<(usize, usize)> {
    let separators = || separator.find_iter(text);
    let place = if place < 0 { separators().count() as i64 + 1 + place } else { place };
    let place = usize::try_from(place).ok()?;
    let start = match place {
        0 => 0,
        more => separators().nth(more - 1)? + separator.needle().len(),
    };
    let end = separators().nth(place).unwrap_or(text.len());
    Some((start, end))
}

/// The text with its letters in the other case, letter by letter; bytes that are no UTF-8 stay.
fn recase<'a, L: Iterator<Item = char>>(
    text: Text<'a>,
    scratch: &mut Scratch,
    ascii: fn(&mut [u8]),
    letter: fn(char) -> L,
) -> Result<Text<'a>, Fault> {
    scratch.rewrite(text, |bytes, out| {
        if bytes.is_ascii() {
            return out.append(|to| {
                let start = to.len();
                to.extend_from_slice(bytes);
                ascii(&mut to[start..]);
            });
        }
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().flat_map(letter).try_for_each(|letter| out.push_char(letter))?;
            out.push(chunk.invalid())?;
        }
        Ok(())
    })
}

fn hex<'a>(bytes: &[u8], scratch: &mut Scratch) -> Result<Val<'a>, Fault> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    let made = scratch.make(|out| {
        out.append(|to| to.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])))
    });
    made.map(Val::Text)
}

/// FNV-1a of 64 bits (RFC 9923).
pub fn fnv64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
