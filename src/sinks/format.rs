//! How an entry is written: raw, text or JSON.
