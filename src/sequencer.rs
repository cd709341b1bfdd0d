//! Puts a domain's blocks back into ticket order.
