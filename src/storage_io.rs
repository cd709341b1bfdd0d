//! Every file operation that durability depends on, behind one trait.
