//! Who works in one pool, and what they looked like when they were last looked at.

use crate::config::PoolPlan;
use crate::logs::Quiet;
use crate::ring::Ring;
use crate::sources::inlet::{Hallway, Shipment};
use crate::worker::elastic::{Bounds, Elastic, Load, Verdict};
use crate::worker::seat::{Done, Seat};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Over how long the share of its time is taken that a worker shows.
const SHARE: Duration = Duration::from_secs(1);

/// The workers of one pool.
pub struct Crew {
    pub bounds: Bounds,
    pub capabilities: Vec<String>,
    pub members: Vec<Member>,
    elastic: Elastic,
    looked: Option<Instant>,
    /// When a block was last known to have been taken out of the ring, or the ring to be empty.
    moved: Option<Instant>,
    /// How many workers came after the start, and how many went.
    pub grown: u64,
    pub shrunk: u64,
    pub last: Option<Changed>,
    /// Of workers that could not be started.
    pub refused: Quiet,
    /// What those did that have ended.
    gone: Done,
    closed: bool,
}

/// What the last change was.
#[derive(Clone, Debug)]
pub struct Changed {
    pub what: String,
    pub at: Instant,
}

/// One worker.
pub struct Member {
    number: usize,
    pub seat: Arc<Seat>,
    thread: JoinHandle<()>,
    before: Done,
    /// Since when it has been seen to have nothing to do.
    idle: Option<Instant>,
    /// When its share was last taken, and its time at blocks then.
    shared: (Instant, Duration),
    /// The share of its time that it was at blocks, lately.
    pub busy_share: f64,
}

impl Member {
    pub fn new(number: usize, seat: Arc<Seat>, thread: JoinHandle<()>) -> Self {
        let since = seat.since();
        Member {
            number,
            seat,
            thread,
            before: Done::default(),
            idle: None,
            shared: (since, Duration::ZERO),
            busy_share: 0.0,
        }
    }

    /// Whether its thread has ended, by itself or otherwise.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it did since the last look.
    fn look(&mut self, now: Instant) -> Done {
        let (done, before) = (self.seat.done(now), self.before);
        self.before = done;
        let since = Done {
            blocks: done.blocks - before.blocks,
            entries: done.entries - before.entries,
            waited: done.waited.saturating_sub(before.waited),
            busy: done.busy.saturating_sub(before.busy),
            is_busy: done.is_busy,
        };
        match since.is_busy || since.blocks > 0 {
            true => self.idle = None,
            false => self.idle = self.idle.or(Some(now)),
        }
        let (then, busy) = self.shared;
        let over = now.saturating_duration_since(then);
        if over >= SHARE {
            self.busy_share = share(done.busy.saturating_sub(busy), over);
            self.shared = (now, done.busy);
        }
        since
    }
}

/// What is to be done with a crew.
pub struct Told {
    /// How many more there should be.
    pub add: usize,
    /// How many should leave.
    pub leave: usize,
    /// Why, in words.
    pub why: String,
    /// Whether there was something to do since the last look.
    pub is_at_something: bool,
}

impl Crew {
    /// Nobody yet.
    pub fn new(plan: &PoolPlan) -> Self {
        Crew {
            bounds: bounds(plan),
            capabilities: plan.capabilities.clone(),
            members: Vec::new(),
            elastic: Elastic::default(),
            looked: None,
            moved: None,
            grown: 0,
            shrunk: 0,
            last: None,
            refused: Quiet::default(),
            gone: Done::default(),
            closed: false,
        }
    }

    /// Other bounds, and other things they can do.
    pub fn set(&mut self, plan: &PoolPlan) {
        self.bounds = bounds(plan);
        self.capabilities.clone_from(&plan.capabilities);
    }

    /// How many there are, without those that were told to leave.
    pub fn count(&self) -> usize {
        self.staying().count()
    }

    fn staying(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.seat.is_told())
    }

    /// The lowest number that nobody has.
    pub fn free_number(&self) -> usize {
        let is_free = |number: &usize| self.members.iter().all(|member| member.number != *number);
        (0..=self.members.len()).find(is_free).unwrap_or(self.members.len())
    }

    /// One more.
    pub fn join(&mut self, member: Member) {
        self.members.push(member);
        self.members.sort_by_key(|member| member.number);
    }

    /// Forgets those whose threads have ended. Says whether there were any.
    pub fn forget_ended(&mut self) -> bool {
        let (ended, there) = std::mem::take(&mut self.members).into_iter().partition(Member::has_ended);
        self.members = there;
        let ended: Vec<Member> = ended;
        let now = Instant::now();
        self.gone = ended.iter().fold(self.gone, |sum, member| with(sum, member.seat.done(now)));
        !ended.is_empty()
    }

    /// What all did that there ever were.
    pub fn total(&self, now: Instant) -> Done {
        self.members.iter().fold(self.gone, |sum, member| with(sum, member.seat.done(now)))
    }

    /// No more are to come.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Looks at them and says what is to be done.
    pub fn decide(&mut self, hallway: &Hallway, now: Instant) -> Told {
        let load = self.load(hallway, now);
        let is_at_something = load.busy > 0 || load.queued > 0 || load.utilisation > 0.0;
        let stay = Told { add: 0, leave: 0, why: String::new(), is_at_something };
        if self.closed {
            return stay;
        }
        match self.elastic.decide(&self.bounds, &load, now) {
            Verdict::Stay => stay,
            Verdict::Grow(add, why) => Told { add, why: why.to_string(), ..stay },
            Verdict::Shrink(leave, why) => Told { leave, why: why.to_string(), ..stay },
        }
    }

    /// What they look like since the last look.
    fn load(&mut self, hallway: &Hallway, now: Instant) -> Load {
        let over = self.looked.map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        self.looked = Some(now);
        let (mut workers, mut busy, mut longest_idle) = (0, 0, Duration::ZERO);
        let mut all = Done::default();
        for member in self.members.iter_mut().filter(|member| !member.seat.is_told()) {
            let done = member.look(now);
            workers += 1;
            busy += usize::from(done.is_busy);
            all.blocks += done.blocks;
            all.waited += done.waited;
            all.busy += done.busy;
            let idle = member.idle.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
            longest_idle = longest_idle.max(idle);
        }
        let queued = hallway.ring.len();
        if all.blocks > 0 || queued == 0 {
            self.moved = Some(now);
        }
        let wait = match u32::try_from(all.blocks) {
            Ok(0) => self.moved.map_or(Duration::ZERO, |then| now.saturating_duration_since(then)),
            Ok(blocks) => all.waited / blocks,
            Err(_) => Duration::ZERO,
        };
        let utilisation = share(all.busy, over * workers as u32);
        Load {
            workers,
            busy,
            utilisation,
            queued,
            wait,
            congested: hallway.credits.congested(),
            longest_idle,
        }
    }

    /// Tells so many to leave: those that have had nothing to do for longest, and then who came last.
    pub fn let_go(&mut self, count: usize, ring: &Ring<Shipment>) {
        for _ in 0..count {
            // One that never had nothing to do comes after all others.
            let order = |member: &&Member| (member.idle.is_none(), member.idle, usize::MAX - member.number);
            let Some(member) = self.staying().min_by_key(order) else { return };
            member.seat.tell_to_leave(ring);
        }
    }

    /// Notes a change.
    pub fn changed(&mut self, before: usize, after: usize, why: &str, at: Instant) {
        match after > before {
            true => self.grown += (after - before) as u64,
            false => self.shrunk += (before - after) as u64,
        }
        self.last = Some(Changed { what: format!("{before} -> {after}: {why}"), at });
    }
}

fn bounds(plan: &PoolPlan) -> Bounds {
    Bounds { min: plan.min, max: plan.max, idle_timeout: plan.idle_timeout }
}

fn with(sum: Done, more: Done) -> Done {
    Done {
        blocks: sum.blocks + more.blocks,
        entries: sum.entries + more.entries,
        waited: sum.waited + more.waited,
        busy: sum.busy + more.busy,
        is_busy: sum.is_busy || more.is_busy,
    }
}

fn share(part: Duration, whole: Duration) -> f64 {
    match whole.is_zero() {
        true => 0.0,
        false => (part.as_secs_f64() / whole.as_secs_f64()).min(1.0),
    }
}
