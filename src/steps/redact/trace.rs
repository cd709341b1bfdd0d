//! A first look for secrets: most texts hold none, and one pass without a state tells so.

use crate::simd::{Isa, Scan, Task};
use std::sync::LazyLock;

/// Three letters of each word that a secret is called by or stands behind. Those are taken that few other words have.
const TRACES: [[u8; 3]; 10] =
    [*b"pas", *b"pwd", *b"ecr", *b"tok", *b"key", *b"ede", *b"riz", *b"bea", *b"asi", *b"://"];

/// Places that are looked at together.
const WIDTH: usize = 32;
/// The bytes that takes: a trace may begin at the last place.
const WINDOW: usize = WIDTH + 2;

static ISA: LazyLock<Isa> = LazyLock::new(Isa::detect);

/// Whether `text` has three letters of the word of a secret, large or small: where it has not, there is no secret in it.
pub fn may_hold_secret(text: &[u8]) -> bool {
    ISA.run(Look(text))
}

struct Look<'a>(&'a [u8]);

impl Task for Look<'_> {
    type Out = bool;

    #[inline(always)]
    fn go<S: Scan>(self, _: S) -> bool {
        let mut seen = [0; WIDTH];
        let mut rest = self.0;
        while let Some(window) = rest.first_chunk() {
            look(window, &mut seen);
            rest = &rest[WIDTH..];
        }
        // What is left, and as much before it as fills the window.
        match self.0.last_chunk() {
            Some(window) => look(window, &mut seen),
            None => {
                let mut window = [0; WINDOW];
                window[..rest.len()].copy_from_slice(rest);
                look(&window, &mut seen);
            }
        }
        seen.iter().fold(0, |all, here| all | here) != 0
    }
}

/// Marks in `seen` the places at which a trace begins. Without a branch, so that all places are looked at together.
#[inline(always)]
fn look(window: &[u8; WINDOW], seen: &mut [u8; WIDTH]) {
    for (place, seen) in seen.iter_mut().enumerate() {
        // Small letters; what else this changes becomes no letter.
        let [one, two, three] = [window[place] | 0x20, window[place + 1] | 0x20, window[place + 2] | 0x20];
        for trace in TRACES {
            *seen |= u8::from(one == trace[0]) & u8::from(two == trace[1]) & u8::from(three == trace[2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_trace_is_seen_wherever_it_stands(
            before in "[ -~]{0,80}", after in "[ -~é]{0,80}", trace in prop::sample::select(TRACES.to_vec()), large in any::<bool>(),
        ) {
            let trace = String::from_utf8(trace.to_vec()).unwrap();
            let trace = if large { trace.to_uppercase() } else { trace };
            prop_assert!(may_hold_secret([&before, &*trace, &after].concat().as_bytes()));
        }

        #[test]
        fn every_instruction_set_sees_what_a_plain_search_does(text in "[a-eikoprstwyzA-Z:/ ]{0,200}") {
            let small = text.to_lowercase();
            let plain = TRACES.iter().any(|trace| small.as_bytes().windows(3).any(|three| three == trace));
            for isa in Isa::all() {
                prop_assert_eq!(isa.run(Look(text.as_bytes())), plain, "{}", isa.name());
            }
        }
    }
}
