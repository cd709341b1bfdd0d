//! What a block carries along: the stretches of its origins it holds, to be told when it is settled.

/// One stretch of one origin, which the source calls `T`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<T> {
    /// Whose.
    pub origin: T,
    /// The origin's generation when the stretch was read.
    pub generation: u32,
    /// The stretch's number.
    pub number: u32,
}

/// The stretches in a block; one alone, as in every block read at full speed, needs no memory of its own.
#[derive(Debug, Default)]
pub enum Marks<T> {
    /// None yet.
    #[default]
    None,
    /// One origin.
    One(Piece<T>),
    /// Several small ones.
    Many(Vec<Piece<T>>),
}

impl<T> Marks<T> {
    /// Adds a stretch.
    pub fn push(&mut self, piece: Piece<T>) {
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
    pub fn pieces(&self) -> &[Piece<T>] {
        match self {
            Marks::None => &[],
            Marks::One(piece) => std::slice::from_ref(piece),
            Marks::Many(pieces) => pieces,
        }
    }
}
