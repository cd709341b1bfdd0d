//! What a source may forget, on disk in two tiers.
