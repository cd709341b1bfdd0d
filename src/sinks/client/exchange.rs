//! All requests of a batch, and what they come to together.

use super::groups::Span;
use super::verdict::Verdict;
use super::{Groups, Keys};
use crate::batch::{Batch, Progress};
use crate::sinks::SendError;
use std::time::Duration;

/// Makes one request after another by `request`, for what earlier attempts have not settled, and notes what was.
///
/// A request that was not answered ends the attempt, the rest would fare no better; one that was told to wait, was not
/// let in, or failed by itself, does not keep the others from theirs. What is returned is about those that were not
/// taken; if all were, what single entries were refused stands in the batch's progress.
pub fn exchange(
    batch: &Batch,
    groups: &mut Groups,
    keys: &mut impl Keys,
    mut request: impl FnMut(&Groups, &[Span]) -> Verdict,
) -> Result<(), SendError> {
    let mut progress = batch.progress();
    groups.sort(batch, keys, &mut progress);
    let mut trouble = None;
    for spans in groups.requests() {
        match request(groups, spans) {
            Verdict::Taken => take(&mut progress, spans),
            Verdict::TakenBut(refused) => {
                refused.into_iter().for_each(|(entry, said)| progress.refuse(entry, said));
                take(&mut progress, spans);
            }
            // One entry alone: it is the one.
            Verdict::Refused(said) if entries(spans).nth(1).is_none() => {
                entries(spans).for_each(|entry| progress.refuse(entry, said.clone()));
            }
            Verdict::Refused(said) => trouble = worse(trouble, SendError::Reject(said)),
            Verdict::Failed { said, after } => trouble = worse(trouble, SendError::Failed { said, after }),
            Verdict::Denied(said) => trouble = worse(trouble, SendError::Denied(said)),
            Verdict::Retry { why, after, others_may } => {
                trouble = worse(trouble, SendError::Retry { why, after });
                if !others_may {
                    break;
                }
            }
        }
    }
    if let Some(trouble) = trouble {
        return Err(trouble);
    }
    if progress.refused().is_empty() {
        // All of it was taken: there is nothing to be remembered entry by entry.
        *progress = Progress::default();
    }
    Ok(())
}

fn entries(spans: &[Span]) -> impl Iterator<Item = usize> {
    spans.iter().flat_map(|span| span.entries.start as usize..span.entries.end as usize)
}

fn take(progress: &mut Progress, spans: &[Span]) {
    spans.iter().for_each(|span| progress.take(span.entries.start as usize..span.entries.end as usize));
}

/// Of two troubles the one that says least of the data: only when nothing else is wrong is it taken apart. Of two of a
/// kind the longer wait.
fn worse(one: Option<SendError>, other: SendError) -> Option<SendError> {
    let rank = |error: &SendError| match error {
        SendError::Denied(_) => (3, Duration::ZERO),
        SendError::Retry { after, .. } => (2, after.unwrap_or_default()),
        SendError::Failed { after, .. } => (1, after.unwrap_or_default()),
        SendError::Reject(_) | SendError::Partial(_) => (0, Duration::ZERO),
    };
    Some(match one {
        Some(one) if rank(&one) >= rank(&other) => one,
        _ => other,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Scope};
    use super::*;
    use crate::batch::Said;
    use crate::block::EntryView;
    use crate::labels::Stream;
    use crate::sinks::testing::{Builder, stream};
    use std::collections::HashMap;

    struct ByOrigin;

    impl Keys for ByOrigin {
        fn scope(&self) -> Scope {
            Scope::Stream
        }

        fn write(&self, stream: &Stream, _: Option<EntryView<'_>>, out: &mut Vec<u8>) -> Result<(), String> {
            out.extend_from_slice(stream.origin.as_bytes());
            Ok(())
        }

        fn place(&mut self, group: u32, _: &[u8]) -> Place {
            Place { request: group, section: 0 }
        }
    }

    fn retry(others_may: bool, seconds: u64) -> Verdict {
        Verdict::Retry { why: format!("{seconds}"), after: Some(Duration::from_secs(seconds)), others_may }
    }

    fn three() -> Batch {
        let line = |name| stream("s", name, &[]);
        let batch = Builder::default().lines(&line("a"), &["1", "2"]).lines(&line("b"), &["3"]);
        batch.lines(&line("c"), &["4", "5"]).build().0
    }

    /// One attempt with the verdict for each origin, and the origins that were asked for.
    fn attempt(batch: &Batch, verdicts: Vec<(&str, Verdict)>) -> (Result<(), SendError>, String) {
        let mut verdicts: HashMap<_, _> = verdicts.into_iter().collect();
        let mut asked = String::new();
        let result = exchange(batch, &mut Groups::default(), &mut ByOrigin, |groups, spans| {
            let origin = std::str::from_utf8(groups.key(spans[0].group)).unwrap();
            asked += origin;
            verdicts.remove(origin).unwrap_or(Verdict::Taken)
        });
        (result, asked)
    }

    #[test]
    fn what_was_taken_is_not_sent_again_and_what_was_refused_is_told_at_the_end() {
        let batch = three();
        let (result, asked) =
            attempt(&batch, vec![("a", Verdict::TakenBut(vec![(1, "old".into())])), ("b", retry(false, 0))]);
        assert!(matches!(result, Err(SendError::Retry { .. })), "{result:?}");
        assert_eq!((asked.as_str(), batch.left()), ("ab", 3));
        let (result, asked) = attempt(&batch, vec![("b", Verdict::Refused("bad".into()))]);
        assert_eq!((asked.as_str(), result.is_ok()), ("bc", true));
        let progress = batch.progress();
        let refused: Vec<_> = progress.refused().iter().map(|one| (one.place, &*one.said.why)).collect();
        assert_eq!((refused, progress.settled()), (vec![(1, "old"), (2, "bad")], 5));
    }

    #[test]
    fn one_who_must_wait_does_not_keep_the_others_waiting() {
        let batch = three();
        let (result, asked) = attempt(&batch, vec![("a", retry(true, 5)), ("c", retry(true, 9))]);
        let Err(SendError::Retry { after, .. }) = result else { panic!("{result:?}") };
        assert_eq!((asked.as_str(), after, batch.left()), ("abc", Some(Duration::from_secs(9)), 4));
        let (result, asked) =
            attempt(&batch, vec![("a", Verdict::Denied("who?".into())), ("c", retry(false, 1))]);
        assert!(matches!(result, Err(SendError::Denied(_))), "{result:?}");
        assert_eq!(asked, "ac");
        assert!(matches!(attempt(&batch, vec![]), (Ok(()), asked) if asked == "ac"));
    }

    #[test]
    fn several_entries_that_are_refused_together_are_left_for_smaller_requests() {
        let batch = three();
        let refused = ["a", "b"].map(|origin| (origin, Verdict::Refused("bad".into())));
        let (result, asked) = attempt(&batch, refused.into());
        assert!(matches!(result, Err(SendError::Reject(said)) if &*said.why == "bad"));
        // Of the lone entry of b it is known already.
        assert_eq!((asked.as_str(), batch.left(), batch.progress().refused().len()), ("abc", 2, 1));
    }

    #[test]
    fn what_is_unwell_is_told_before_what_is_wrong() {
        let verdicts = || {
            let failed = Verdict::Failed { said: Said::with_status("no", 500), after: None };
            vec![("a", Verdict::Refused("bad".into())), ("b", failed)]
        };
        let (result, _) = attempt(&three(), verdicts());
        assert!(matches!(result, Err(SendError::Failed { said, .. }) if said.status == Some(500)));
        let (result, _) = attempt(&three(), verdicts().into_iter().chain([("c", retry(false, 1))]).collect());
        assert!(matches!(result, Err(SendError::Retry { .. })));
    }
}
