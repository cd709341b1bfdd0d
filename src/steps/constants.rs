//! Placeholder.
use crate::entry::{Slice, Space};
/// C
#[derive(Default)]
pub struct Constants(Vec<u8>);
impl Constants { /// a
 pub fn add(&mut self, bytes: &[u8]) -> Slice { let at = self.0.len(); self.0.extend_from_slice(bytes); Slice { space: Space::Constant, offset: at as u32, len: bytes.len() as u32 } } }
