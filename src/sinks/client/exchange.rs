//! All requests of a batch, and what they come to together.

use super::groups::Span;
use super::verdict::Verdict;
use super::{Groups, Keys};
use crate::batch::{Batch, Progress};
use crate::sinks::SendError;
use std::time::Duration;

/// Makes one request after another by `request`, for what earlier attempts have not settled, and notes what was.
///
/// A request that was not answered ends the attempt, the rest would fare no better; one that was told to wait, or not
/// let in, does not keep the others from theirs.
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
                refused.into_iter().for_each(|(entry, why)| progress.refuse(entry, why));
                take(&mut progress, spans);
            }
            Verdict::Refused(why) => refuse(&mut progress, spans, &why),
            Verdict::Denied(why) => trouble = worse(trouble, SendError::Denied(why)),
            Verdict::Retry { why, after, others_may } => {
                trouble = worse(trouble, SendError::Retry { why, after });
                if !others_may {
                    break;
                }
            }
        }
    }
    match trouble {
        Some(trouble) => Err(trouble),
        None => settled(std::mem::take(&mut progress), batch.len()),
    }
}

fn take(progress: &mut Progress, spans: &[Span]) {
    spans.iter().for_each(|span| progress.take(span.entries.start as usize..span.entries.end as usize));
}

fn refuse(progress: &mut Progress, spans: &[Span], why: &str) {
    let entries = spans.iter().flat_map(|span| span.entries.clone());
    entries.for_each(|entry| progress.refuse(entry as usize, why));
}

/// Of two troubles the one a person can mend; of two waits the longer.
fn worse(one: Option<SendError>, other: SendError) -> Option<SendError> {
    let wait = |after: Option<Duration>| after.unwrap_or_default();
    Some(match (one, other) {
        (Some(denied @ SendError::Denied(_)), _) => denied,
        (Some(SendError::Retry { why, after }), SendError::Retry { after: longer, .. })
            if wait(longer) > wait(after) =>
        {
            SendError::Retry { why, after: longer }
        }
        (Some(first @ SendError::Retry { .. }), SendError::Retry { .. }) => first,
        (_, other) => other,
    })
}

fn settled(progress: Progress, entries: usize) -> Result<(), SendError> {
    let mut refused = progress.into_refused();
    match refused.len() {
        0 => Ok(()),
        all if all == entries => Err(SendError::Reject(refused.swap_remove(0).1)),
        _ => Err(SendError::Partial(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Scope};
    use super::*;
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
        let (result, asked) = attempt(&batch, vec![("c", Verdict::Refused("bad".into()))]);
        assert_eq!(asked, "bc");
        let Err(SendError::Partial(refused)) = result else { panic!("{result:?}") };
        assert_eq!(refused, [(1, "old".into()), (3, "bad".into()), (4, "bad".into())]);
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
    fn a_batch_refused_altogether_is_rejected() {
        let refused = ["a", "b", "c"].map(|origin| (origin, Verdict::Refused("bad".into())));
        assert!(
            matches!(attempt(&three(), refused.into()), (Err(SendError::Reject(why)), _) if why == "bad")
        );
    }
}
