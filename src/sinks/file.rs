//! Entries appended to files named by a template.
