//! A decode thread: bodies come in, entries go into blocks, answers go back.
//!
//! It takes the requests of its connections one after the other, so each connection's entries keep their order. It never
//! waits for one request's delivery: blocks say which requests they serve, and many of both are under way. When there is
//! no room further down it puts the body it is at aside, and hears of settled blocks and of time that has run out until
//! there is.

use super::requests::{Due, Fate, Requests, Who};
use super::service::{Outcome, Reading, Service, Streams};
use super::terms::Terms;
use super::writer::Writer;
use super::{Answer, Job, REQUESTS_MAX};
use crate::labels::Stream;
use crate::pool::Charge;
use crate::sources::body::inflate::Inflater;
use crate::sources::body::{EntryOut, Full, Item, LabelText, Reader, Refusals, Refused, Why, put};
use crate::sources::ending::Ending;
use crate::sources::inlet::InletSpec;
use crate::thread::{Doing, Row, Wake};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use crossbeam_utils::sync::{Parker, Unparker};
use std::sync::Arc;
use std::time::Instant;

/// Most requests begun between two looks at what was settled.
const TURN_REQUESTS: usize = 64;
/// Most blocks filled between two of them.
const TURN_BLOCKS: usize = 16;

/// Where the intake leaves requests for a decode thread.
pub struct Inbox {
    /// Its queue.
    pub jobs: Sender<Job>,
    /// Wakes it.
    pub waker: Arc<dyn Wake>,
}

/// A decode thread, ready to run.
pub struct Decoder {
    jobs: Receiver<Job>,
    answers: Sender<Answer>,
    intake: Arc<dyn Wake>,
    parker: Parker,
    ending: Arc<Ending>,
    /// What the request it is at came under.
    terms: Arc<Terms>,
    inflater: Inflater,
    streams: Box<dyn Streams>,
    writer: Writer,
    requests: Requests,
    current: Option<Current>,
    /// An answer was given that the intake has not been woken for.
    answered: bool,
}

/// The request whose body is being read.
struct Current {
    body: Vec<u8>,
    reader: Reader,
    tally: Tally,
    _charge: Option<Charge>,
}

struct Tally {
    who: Who,
    /// Its number among those with entries in blocks.
    number: Option<u64>,
    deadline: Instant,
    /// The request's own stream, and the one that entries belong to now.
    request: Arc<Stream>,
    stream: Arc<Stream>,
    entries: u64,
    refusals: Refusals,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    /// There is more to do.
    More,
    /// There is no room further down.
    Blocked,
    /// There is nothing to do.
    Nothing,
    /// Nothing will come any more.
    Ended,
}

struct Bell(Unparker);

impl Wake for Bell {
    fn wake(&self) {
        self.0.unpark();
    }
}

impl Decoder {
    /// A decode thread of the source of `spec`, and the way to it. It counts as a source of its own in `ending`.
    pub fn new(
        terms: Arc<Terms>,
        spec: InletSpec,
        ending: Arc<Ending>,
        answers: Sender<Answer>,
        intake: Arc<dyn Wake>,
    ) -> (Decoder, Inbox) {
        let parker = Parker::new();
        let waker = Arc::new(Bell(parker.unparker().clone())) as Arc<dyn Wake>;
        ending.join(Arc::clone(&waker));
        // The intake admits no more than these, so the queue is never full.
        let (sender, jobs) = bounded(REQUESTS_MAX);
        let decoder = Decoder {
            jobs,
            answers,
            intake,
            parker,
            ending,
            inflater: Inflater::new(terms.settings.limits),
            streams: terms.service.streams(),
            writer: Writer::new(spec, Arc::clone(&waker), terms.settings.max_entry),
            terms,
            requests: Requests::default(),
            current: None,
            answered: false,
        };
        (decoder, Inbox { jobs: sender, waker })
    }

    /// Runs until the intake sends no more and all is shipped and settled, or until told to leave.
    pub fn run(mut self, row: &Row) {
        let mut told = false;
        loop {
            if !self.ending.is_stopping() {
                row.keep_to_cpu();
            }
            row.set(Doing::Working);
            let now = Instant::now();
            self.writer.woken();
            self.settle();
            self.expire(now);
            if self.ending.is_leaving() {
                self.leave();
                break;
            }
            let work = self.work(now);
            let pace = self.keep_pace(now);
            if work == Work::Ended && !told && self.ship(now) {
                told = true;
                self.ending.shipped_all();
            }
            self.tell_intake();
            if told && self.writer.is_idle() && self.requests.is_empty() {
                return;
            }
            if work != Work::More {
                row.set(if work == Work::Blocked { Doing::Blocked } else { Doing::Idle });
                self.sleep(pace);
            }
        }
        if !told {
            self.ending.shipped_all();
        }
    }

    fn sleep(&mut self, pace: Option<Instant>) {
        let current = self.current.as_ref().map(|current| current.tally.deadline);
        match pace.into_iter().chain(self.requests.deadline()).chain(current).min() {
            Some(due) => self.parker.park_deadline(due),
            None => self.parker.park(),
        }
    }

    // --- answers

    fn reply(
        who: Who,
        outcome: &Outcome<'_>,
        service: &dyn Service,
        answers: &Sender<Answer>,
        answered: &mut bool,
    ) {
        // The intake is gone only when nobody waits for answers any more.
        *answered |= answers.send(Answer { who, response: service.answer(outcome) }).is_ok();
    }

    fn reply_due(due: Due, service: &dyn Service, answers: &Sender<Answer>, answered: &mut bool) {
        match due.fate {
            Fate::Done(entries, refusals) => Self::reply(
                due.who,
                &Outcome::Done { entries, refusals: &refusals },
                service,
                answers,
                answered,
            ),
            Fate::Lost(status) => Self::reply(due.who, &Outcome::Lost(status), service, answers, answered),
            Fate::Late => Self::reply(due.who, &Outcome::Late { begun: true }, service, answers, answered),
        }
    }

    fn answer(&mut self, who: Who, outcome: &Outcome<'_>) {
        Self::reply(who, outcome, &*self.terms.service, &self.answers, &mut self.answered);
    }

    fn tell_intake(&mut self) {
        if std::mem::take(&mut self.answered) {
            self.intake.wake();
        }
    }

    fn settle(&mut self) {
        let Decoder { writer, requests, terms, answers, answered, .. } = self;
        while let Some((holders, status)) = writer.settled() {
            requests.settled(holders, status, |due| Self::reply_due(due, &*terms.service, answers, answered));
        }
    }

    /// Answers those whose time is over. Of the one that is being read no more is taken then.
    fn expire(&mut self, now: Instant) {
        let Decoder { requests, terms, answers, answered, .. } = self;
        requests.late(now, |due| Self::reply_due(due, &*terms.service, answers, answered));
        let Some(current) = self.current.take_if(|current| current.tally.deadline <= now) else { return };
        self.finish(current.tally, false);
    }

    fn leave(&mut self) {
        let Decoder { requests, terms, answers, answered, .. } = self;
        requests.give_up(|due| Self::reply_due(due, &*terms.service, answers, answered));
        self.tell_intake();
    }

    // --- blocks

    fn keep_pace(&mut self, now: Instant) -> Option<Instant> {
        let Decoder { writer, requests, terms, answers, answered, .. } = self;
        writer.keep_pace(now, requests, |due| Self::reply_due(due, &*terms.service, answers, answered))
    }

    fn ship(&mut self, now: Instant) -> bool {
        let Decoder { writer, requests, terms, answers, answered, .. } = self;
        writer.ship(now, requests, |due| Self::reply_due(due, &*terms.service, answers, answered))
    }

    // --- bodies

    /// Reads bodies as far as a turn goes.
    fn work(&mut self, now: Instant) -> Work {
        for _ in 0..TURN_REQUESTS {
            let Some(mut current) = self.current.take() else {
                match self.jobs.try_recv() {
                    Ok(job) => self.begin(job, now),
                    Err(TryRecvError::Empty) => return Work::Nothing,
                    Err(TryRecvError::Disconnected) => return Work::Ended,
                }
                continue;
            };
            let (done, yields) = self.pour(&mut current, now);
            if done {
                self.finish(current.tally, true);
            } else {
                self.current = Some(current);
                return if yields { Work::More } else { Work::Blocked };
            }
        }
        Work::More
    }

    /// From now on requests come under `terms`.
    fn change(&mut self, terms: Arc<Terms>) {
        if Arc::ptr_eq(&self.terms, &terms) {
            return;
        }
        self.inflater = Inflater::new(terms.settings.limits);
        // What it knows has the old labels.
        self.streams = terms.service.streams();
        self.writer.change(terms.strategy, terms.settings.max_entry);
        self.terms = terms;
    }

    /// Begins with a request, unless it can be answered at once.
    fn begin(&mut self, job: Job, now: Instant) {
        let Job { who, reading: Reading { encoding, reader, .. }, body, charge, stream, arrived, terms } =
            job;
        self.change(terms);
        let deadline = arrived + self.terms.settings.promise_timeout;
        if deadline <= now {
            return self.answer(who, &Outcome::Late { begun: false });
        }
        match self.inflater.body(encoding, body) {
            Err(error) => self.answer(who, &Outcome::Packed(&error)),
            Ok(body) => {
                let reader = reader(&body, self.terms.settings.max_entry);
                let (request, entries, refusals) = (Arc::clone(&stream), 0, Refusals::default());
                let tally = Tally { who, number: None, deadline, request, stream, entries, refusals };
                self.current = Some(Current { body, reader, tally, _charge: charge });
            }
        }
    }

    /// Reads on in a body. Whether that was all; if not, whether it stopped only to let others have their turn.
    fn pour(&mut self, current: &mut Current, now: Instant) -> (bool, bool) {
        let Current { body, reader, tally, .. } = current;
        let heed_gate = !self.ending.is_stopping();
        let mut out = Out { decoder: self, tally, heed_gate, blocks: TURN_BLOCKS, now };
        let done = reader.pour(body, &mut out);
        (done, out.blocks == 0)
    }

    /// All of a request that will be is in blocks; `whole` if its body was read to the end.
    fn finish(&mut self, tally: Tally, whole: bool) {
        let Tally { who, number, entries, refusals, .. } = tally;
        self.writer.ledger().http.refused_entries.add(refusals.entries());
        match number {
            None if whole => self.answer(who, &Outcome::Done { entries, refusals: &refusals }),
            None => self.answer(who, &Outcome::Late { begun: false }),
            Some(number) => {
                let shipped = !self.writer.holds(number);
                let due =
                    self.requests.complete(number, entries, refusals, shipped, self.terms.settings.promise);
                if let Some(due) = due {
                    Self::reply_due(due, &*self.terms.service, &self.answers, &mut self.answered);
                }
            }
        }
    }
}

/// Takes the entries of one body.
struct Out<'a> {
    decoder: &'a mut Decoder,
    tally: &'a mut Tally,
    heed_gate: bool,
    /// How many more blocks may be filled in this turn.
    blocks: usize,
    now: Instant,
}

impl EntryOut for Out<'_> {
    fn stream(&mut self, labels: LabelText<'_>) -> Result<(), Why> {
        self.tally.stream = self.decoder.streams.stream(&self.tally.request, labels)?;
        Ok(())
    }

    fn entry(&mut self, item: &Item<'_>) -> Result<(), Full> {
        if self.blocks == 0 {
            return Err(Full);
        }
        let Decoder { writer, requests, terms, answers, answered, .. } = &mut *self.decoder;
        let block = writer.room_for(item, &self.tally.stream, self.heed_gate, self.now, requests, |due| {
            Decoder::reply_due(due, &*terms.service, answers, answered);
        })?;
        let cut = put(block, &self.tally.stream, item, terms.settings.max_entry)?;
        let Tally { who, deadline, number, .. } = *self.tally;
        let number = number.unwrap_or_else(|| requests.begin(who, deadline));
        self.tally.number = Some(number);
        self.tally.entries += 1;
        if writer.hold(number) {
            requests.hold(number);
            self.blocks -= 1;
        }
        writer.ledger().cut.add(u64::from(cut));
        Ok(())
    }

    fn refused(&mut self, refused: Refused) {
        self.tally.refusals.add(refused);
    }
}
