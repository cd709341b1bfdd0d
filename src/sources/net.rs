//! The one mio thread that does all network intake.
