//! Records of a segment, found slowly: every eighth byte is tried, with a checksum made bit by bit.

/// The salt of the segments that are built.
pub const SALT: u64 = 0x5a17_0000_1234_abcd;
const HEADER: usize = 64;
const HEAD: usize = 32;

/// A header of the segment 1 whose first entry is the number 100.
pub fn header() -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(b"RINGSEG\n");
    out[8] = 1;
    out[12] = 64;
    out[14] = 1;
    for (at, number) in [(16, 1), (24, 100), (40, SALT), (48, 64 << 10)] {
        out[at..at + 8].copy_from_slice(&u64::to_le_bytes(number));
    }
    let crc = crc32c(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Makes a body of what the bytes ask for: records, seals, and anything between them.
pub fn built(mut bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut seq) = (Vec::new(), 100u64);
    while let [what, a, b, rest @ ..] = bytes {
        let len = usize::from(*b).min(rest.len());
        let (payload, behind) = rest.split_at(len);
        bytes = behind;
        match what % 4 {
            // As it is.
            0 => out.extend_from_slice(payload),
            // A record, perhaps after a gap, or one that was there before.
            1 => {
                let start = seq.saturating_add_signed(i64::from(*a as i8) / 16);
                let entries = u32::from(what / 4) + 1;
                record(&mut out, 1, start, entries, payload);
                seq = start + u64::from(entries);
            }
            2 => record(&mut out, 2, seq, 0, &[0; 24]),
            // A changed byte somewhere before.
            _ => {
                let len = out.len();
                if let Some(byte) = out.get_mut((usize::from(*a) * 256 + usize::from(*b)) % len.max(1)) {
                    *byte ^= what;
                }
            }
        }
    }
    out
}

fn record(out: &mut Vec<u8>, kind: u8, seq: u64, entries: u32, payload: &[u8]) {
    out.resize(out.len().next_multiple_of(8), 0);
    let start = out.len();
    out.extend_from_slice(&((SALT as u16) | 1).to_le_bytes());
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&entries.to_le_bytes());
    out.extend_from_slice(&7u64.to_le_bytes());
    let crc = crc32c(&[&SALT.to_le_bytes(), &out[start..], payload].concat());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(8), 0);
}

/// The records of a file: number, entries, payload; and how many entries are missing between them.
pub fn records(file: &[u8], salt: u64) -> (Vec<(u64, u32, Vec<u8>)>, u64) {
    let (mut at, mut next, mut lost, mut all) = (HEADER, 100u64, 0, Vec::new());
    // What any record says is there, one that cannot count for its beginning too.
    let mut end = next;
    while at < file.len() {
        let Some((kind, seq, entries, payload)) = one(&file[at..], salt) else {
            at += 8;
            continue;
        };
        at += (HEAD + payload.len()).next_multiple_of(8);
        end = end.max(seq + u64::from(entries));
        if kind == 2 {
            break;
        }
        if seq >= next {
            lost += seq - next;
            next = seq + u64::from(entries);
            all.push((seq, entries, payload.to_vec()));
        }
    }
    (all, lost + (end - next))
}

/// The record at the front.
fn one(bytes: &[u8], salt: u64) -> Option<(u8, u64, u32, &[u8])> {
    let head = bytes.get(..HEAD)?;
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let payload = bytes.get(HEAD..HEAD.checked_add(u32_at(4) as usize)?)?;
    let seq = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
    let (kind, entries) = (head[2], u32_at(16));
    let sound = match kind {
        1 => entries > 0 && payload.len() <= 1 << 20,
        2 => entries == 0 && payload.len() == 24,
        _ => false,
    };
    let marked = head[..2] == ((salt as u16) | 1).to_le_bytes() && head[3] == 0 && seq < 1 << 61;
    let crc = crc32c(&[&salt.to_le_bytes(), &head[..28], payload].concat());
    (sound && marked && crc == u32_at(28)).then_some((kind, seq, entries, payload))
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
