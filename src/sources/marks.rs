//! What a block carries along: the stretches of files it holds, to be told when it is settled.

use super::tail::TailId;

/// One stretch of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The file.
    pub tail: TailId,
    /// Its generation when the stretch was read.
    pub generation: u32,
    /// The stretch's number.
    pub number: u32,
}

/// The stretches in a block; one alone, as in every block read at full speed, needs no memory of its own.
#[derive(Debug, Default)]
pub enum Marks {
    /// None yet.
    #[default]
    None,
    /// One file.
    One(Piece),
    /// Several small ones.
    Many(Vec<Piece>),
}

impl Marks {
    /// Adds a stretch.
    pub fn push(&mut self, piece: Piece) {
        *self = match std::mem::take(self) {
            Marks::None => Marks::One(piece),
            Marks::One(first) => Marks::Many(vec![first, piece]),
            Marks::Many(mut pieces) => {
                pieces.push(piece);
                Marks::Many(pieces)
            }
        };
    }

    /// All stretches.
    pub fn pieces(&self) -> &[Piece] {
        match self {
            Marks::None => &[],
            Marks::One(piece) => std::slice::from_ref(piece),
            Marks::Many(pieces) => pieces,
        }
    }
}
