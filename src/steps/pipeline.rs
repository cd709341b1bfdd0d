//! Placeholder.
use crate::block::Block;
/// P
pub struct Pipeline;
/// O
pub struct Outcome {
    /// e
    pub errors: usize,
    /// p
    pub panicked: Vec<usize>,
}
impl Pipeline {
    /// r
    pub fn run_guarded(&self, _b: &mut Block) -> Outcome {
        Outcome { errors: 0, panicked: vec![] }
    }
}
