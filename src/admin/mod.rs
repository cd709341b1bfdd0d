//! Looking in: `/metrics`, `/stats`, `/health`, `/ready`.
