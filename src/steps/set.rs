//! Sets fields to constants.
