//! Placeholder.
use crate::block::Block;
/// P
pub struct Pipeline;
/// O
pub struct Outcome { /// e
 pub errors: usize, /// p
 pub panicked: Vec<usize> }
/// S
pub enum StepSpec { /// z
 ParseSyslog(jiff::tz::TimeZone) }
/// s
pub fn spec(_s: &crate::steps::config::StepConfig) -> Result<StepSpec, String> { Err("no".into()) }
impl Pipeline { /// c
 pub fn compile(_s: Vec<StepSpec>) -> Result<Self, String> { Ok(Pipeline) }
 /// r
 pub fn run_guarded(&self, b: &mut Block) -> Outcome { b.reset_side(); Outcome { errors: 0, panicked: vec![] } } }
