//! The one network thread: made when the first source needs it, kept until the engine ends.

use super::Runner;
use crate::sources::ending::Ending;
use crate::sources::net::Intake;
use crate::sources::net::seats::IntakeControl;
use std::io;
use std::sync::Arc;

/// The intake thread, in whatever state it is.
#[derive(Default)]
pub(super) enum IntakeSlot {
    /// No source has needed it yet.
    #[default]
    None,
    /// Made, and not yet running.
    Made(Box<Intake>, IntakeControl),
    /// It runs.
    Running(IntakeControl),
}

impl IntakeSlot {
    /// Runs `order` on the intake: here while it does not run, and by its own thread otherwise.
    ///
    /// Errors: it cannot be made, or its thread is no more.
    pub fn run<T: Send + 'static>(
        &mut self,
        order: impl FnOnce(&mut Intake) -> T + Send + 'static,
    ) -> io::Result<T> {
        if matches!(self, IntakeSlot::None) {
            let mut intake = Box::new(Intake::new(Arc::new(Ending::default()))?);
            let control = intake.stay();
            *self = IntakeSlot::Made(intake, control);
        }
        match self {
            IntakeSlot::Made(intake, _) => Ok(order(intake)),
            IntakeSlot::Running(control) => {
                control.call(order).ok_or_else(|| io::Error::other("the intake thread is no more"))
            }
            IntakeSlot::None => unreachable!("it was made above"),
        }
    }

    /// The thread to start, if it was made and does not run yet. It counts as running from now on.
    pub fn runner(&mut self, cores: &[usize]) -> Option<Runner> {
        match std::mem::take(self) {
            IntakeSlot::Made(intake, control) => {
                *self = IntakeSlot::Running(control);
                let body = Box::new(move |row: &crate::thread::Row| intake.run(row));
                Some(Runner { name: "intake".into(), cores: cores.to_vec(), body })
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Gives it an order when it comes to it, if it runs.
    pub fn tell(&self, order: impl FnOnce(&mut Intake) + Send + 'static) {
        if let IntakeSlot::Running(control) = self {
            control.tell(order);
        }
    }

    /// No more sources will come.
    pub fn close(&self) {
        if let IntakeSlot::Running(control) = self {
            control.close();
        }
    }
}
