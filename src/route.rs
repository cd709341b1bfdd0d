//! Which lanes an entry goes to.
