//! Placeholder.
use crate::block::{Block, count_selected};
use crate::expr::Expr;
/// C
pub struct LaneChoice { /// l
 pub lane: usize, /// r
 pub row: u16, /// e
 pub entries: u32 }
/// R
#[derive(Default)]
pub struct Routing { /// l
 pub lanes: Vec<LaneChoice>, /// f
 pub filtered: u32, /// r
 pub routed: u32, /// u
 pub unrouted: u32, /// e
 pub extra: u32 }
/// R
pub struct Routes(usize);
impl Routes { /// n
 pub fn new(c: Vec<Option<Expr>>) -> Self { Routes(c.len()) }
 /// r
 pub fn route(&self, b: &mut Block, r: &mut Routing) { b.open_selections(0, self.0); r.lanes.clear();
  let n = b.entries().len(); let live = count_selected(b.selection(0), 0..n) as u32;
  for lane in 0..self.0 { r.lanes.push(LaneChoice { lane, row: 0, entries: live }); }
  r.filtered = n as u32 - live; r.routed = if self.0 > 0 { live } else { 0 }; r.unrouted = live - r.routed; r.extra = live * (self.0 as u32).saturating_sub(1); } }
