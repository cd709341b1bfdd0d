//! Loom on the shipped settlement of blocks: run with `RUSTFLAGS="--cfg loom" cargo test --release --test loom_ack`.
#![cfg(loom)]

use loom::sync::Mutex;
use ringmain::ack::{Ack, Hold, Return, Status};
use std::sync::Arc;

/// What a source heard.
struct Heard(Mutex<Vec<(u64, Status)>>);

impl Return for Heard {
    fn settled(&self, number: u64, status: Status) {
        self.0.lock().expect("not poisoned").push((number, status));
    }
}

/// Two lanes with two copies each of one block, settled by two threads while the router still holds its own share.
fn settle(first: fn(Hold), second: fn(Hold)) -> Vec<(u64, Status)> {
    let heard = Arc::new(Heard(Mutex::new(Vec::new())));
    let whole = Arc::new(Ack::new(3, Arc::clone(&heard) as Arc<dyn Return>)).whole();
    let (a, b) = (whole.more(2), whole.more(2));
    let threads = [loom::thread::spawn(move || first(a)), loom::thread::spawn(move || second(b))];
    whole.settle(Status::Delivered);
    for thread in threads {
        thread.join().expect("no panic");
    }
    let heard = heard.0.lock().expect("not poisoned");
    heard.clone()
}

fn in_two_halves(status: Status) -> impl Fn(Hold) {
    move |mut hold| {
        hold.split(1).settle(status);
        hold.settle(Status::Delivered);
    }
}

#[test]
fn the_source_hears_exactly_once_and_of_the_worst() {
    loom::model(|| {
        let heard = settle(
            |hold| in_two_halves(Status::Dropped)(hold),
            |hold| in_two_halves(Status::Persisted)(hold),
        );
        assert_eq!(heard, [(3, Status::Dropped)]);
    });
}

#[test]
fn a_share_lost_on_one_thread_is_failed_however_the_other_ends() {
    loom::model(|| {
        let heard = settle(drop, |hold| hold.settle(Status::Dropped));
        assert_eq!(heard, [(3, Status::Failed)]);
    });
}

#[test]
fn a_block_that_nobody_wanted_is_settled_by_its_router() {
    loom::model(|| {
        let heard = Arc::new(Heard(Mutex::new(Vec::new())));
        let whole = Arc::new(Ack::new(0, Arc::clone(&heard) as Arc<dyn Return>)).whole();
        whole.more(1).settle(Status::Delivered);
        assert!(heard.0.lock().expect("not poisoned").is_empty());
        whole.settle(Status::Delivered);
        assert_eq!(heard.0.lock().expect("not poisoned").len(), 1);
    });
}
