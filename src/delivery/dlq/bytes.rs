//! Numbers and texts of a letter, written and read.

/// Bytes that are no letter, and what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter: {0}")]
pub struct Malformed(pub &'static str);

/// What is left to be read.
pub(super) struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.0.split_at_checked(len).ok_or(Malformed("it ends early"))?;
        self.0 = rest;
        Ok(first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Bytes behind a length of 16 bits.
    pub fn short(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// Bytes behind a length of 32 bits.
    pub fn long(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub fn short_text(&mut self) -> Result<&'a str, Malformed> {
        text(self.short()?)
    }

    pub fn long_text(&mut self) -> Result<&'a str, Malformed> {
        text(self.long()?)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a text that is not UTF-8"))
}

/// Writing.
pub(super) mod put {
    /// Bytes behind a length of 16 bits; what is longer is cut, at the start of a character.
    pub fn short(out: &mut Vec<u8>, bytes: &[u8]) {
        let mut len = bytes.len().min(u16::MAX.into());
        if len < bytes.len() {
            while len > 0 && bytes[len] & 0xC0 == 0x80 {
                len -= 1;
            }
        }
        out.extend_from_slice(&(len as u16).to_le_bytes());
        out.extend_from_slice(&bytes[..len]);
    }

    /// Bytes behind a length of 32 bits. A block's texts are far below that.
    pub fn long(out: &mut Vec<u8>, bytes: &[u8]) {
        let len = bytes.len().min(u32::MAX as usize);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&bytes[..len]);
    }
}
