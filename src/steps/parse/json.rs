//! JSON objects to fields, by a block-wide structural index.
