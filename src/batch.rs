//! What one request to one sink carries.
