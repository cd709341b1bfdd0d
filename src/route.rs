//! Placeholder.
use crate::block::Block;
/// C
pub struct LaneChoice {
    /// l
    pub lane: usize,
    /// r
    pub row: u16,
    /// e
    pub entries: u32,
}
/// R
#[derive(Default)]
pub struct Routing {
    /// l
    pub lanes: Vec<LaneChoice>,
    /// f
    pub filtered: u32,
    /// r
    pub routed: u32,
    /// u
    pub unrouted: u32,
    /// e
    pub extra: u32,
}
/// R
pub struct Routes;
impl Routes {
    /// r
    pub fn route(&self, _b: &mut Block, _r: &mut Routing) {}
}
