//! Page-aligned buffers and blocks from bounded pools.
