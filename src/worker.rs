//! The loop of a worker: pop a block, run its pipeline, choose its lanes, deposit, drain.
