//! `ringmain top`: a running one at a glance, again and again: what comes in, what is made of it, what goes out, who is busy.
//!
//! Two looks at `/stats` make a frame, by a pure function; the rest is asking and the terminal.

mod frame;
mod line;
mod rows;
mod sample;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use super::ask::{self, AdminArgs, Asked};
use super::{exit, fail};
use clap::Args;
use frame::{Scene, Size, frame};
use line::Line;
use sample::{Health, Look};
use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use terminal::{Screen, Woken};

/// Whom to ask, and how often.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// How often it is looked at, and the time that rates are taken over
    #[arg(short, long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// Ends after so many frames
    #[arg(short = 'n', long, value_name = "FRAMES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Prints one frame of two looks, one interval apart, and ends
    #[arg(long, conflicts_with = "count")]
    once: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    let fits =
        |interval: &Duration| (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(interval);
    let expected = "expected a duration from 100ms to 1h, such as 2s";
    crate::units::parse_duration(text).filter(fits).ok_or(expected)
}

/// How long an answer may take: keys wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows it until told otherwise.
pub fn run(args: &TopArgs) -> ExitCode {
    // The first answer before anything is drawn: who asks the wrong one reads that on an ordinary screen.
    let first = match look(&args.admin) {
        Ok(look) => look,
        Err(why) => return fail(exit::NOT_STARTED, &why),
    };
    let mut watch = Watch::new(args.admin.admin.to_string(), first);
    let shown = match stdout().is_terminal() && !args.once {
        true => on_screen(args, &mut watch),
        false => in_lines(args, &mut watch),
    };
    match shown {
        Ok(()) => ExitCode::from(exit::CLEAN),
        Err(why) => fail(exit::NOT_STARTED, &why),
    }
}

/// A frame below the other, as text for a file or another program; the first is of two looks as well.
fn in_lines(args: &TopArgs, watch: &mut Watch) -> Result<(), String> {
    let (size, colour) = (terminal::size(false), terminal::wants_colour());
    let frames = if args.once { 1 } else { args.count.unwrap_or(u64::MAX) };
    for number in 0..frames {
        std::thread::sleep(args.interval);
        watch.look(&args.admin, Instant::now());
        if let (true, Some((_, why))) = (args.once, &watch.away) {
            return Err(why.clone());
        }
        let mut text = String::from(if number > 0 { "\n" } else { "" });
        for line in watch.frame(size, Instant::now()) {
            text.push_str(line.paint(colour).trim_end());
            text.push('\n');
        }
        let mut out = stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more.
            return Ok(());
        }
    }
    Ok(())
}

/// Frames in the same place, until a key or a signal.
fn on_screen(args: &TopArgs, watch: &mut Watch) -> Result<(), String> {
    let colour = terminal::wants_colour();
    let mut screen = Screen::take().map_err(|error| format!("the terminal cannot be taken: {error}"))?;
    let (mut due, mut frames) = (Instant::now() + args.interval, 0);
    loop {
        let lines = watch.frame(terminal::size(true), Instant::now());
        if screen.show(&lines, colour).is_err() {
            return Ok(());
        }
        match screen.wait(due) {
            Woken::Quit => return Ok(()),
            Woken::Changed => {}
            Woken::Due => {
                frames += 1;
                if args.count.is_some_and(|count| frames > count) {
                    return Ok(());
                }
                watch.look(&args.admin, Instant::now());
                due = Instant::now() + args.interval;
            }
        }
    }
}

/// What was seen of an instance.
struct Watch {
    address: String,
    before: Option<Look>,
    now: Look,
    restarts: u32,
    /// Since when there is no answer, and why.
    away: Option<(Instant, String)>,
}

impl Watch {
    fn new(address: String, first: Look) -> Watch {
        Watch { address, before: None, now: first, restarts: 0, away: None }
    }

    /// Looks again, if there is an answer.
    fn look(&mut self, admin: &AdminArgs, now: Instant) {
        self.came(look(admin), now);
    }

    fn came(&mut self, came: Result<Look, String>, now: Instant) {
        match came {
            Ok(look) => {
                self.restarts += u32::from(!look.stats.follows(&self.now.stats));
                self.before = Some(std::mem::replace(&mut self.now, look));
                self.away = None;
            }
            Err(why) => {
                let since = self.away.as_ref().map_or(now, |(since, _)| *since);
                self.away = Some((since, why));
            }
        }
    }

    fn frame(&self, size: Size, now: Instant) -> Vec<Line> {
        let away = self.away.as_ref();
        let scene = Scene {
            address: &self.address,
            before: self.before.as_ref(),
            now: &self.now,
            restarts: self.restarts,
            away: away
                .map(|(since, why)| (now.saturating_duration_since(*since).as_secs_f64(), why.as_str())),
        };
        frame(&scene, size)
    }
}

/// Asks for all that a frame shows.
fn look(admin: &AdminArgs) -> Result<Look, String> {
    let answer = |path| match ask::get_within(admin, path, PATIENCE) {
        Asked::Answered(answer) => Ok(answer),
        Asked::Refused(why) | Asked::Failed(why) => Err(why),
    };
    let stats = answer("/stats")?;
    let stats = serde_json::from_str(&stats)
        .map_err(|error| format!("{}/stats did not answer with JSON: {error}", admin.admin))?;
    // One that fails refuses, with the same words.
    let (Ok(health) | Err(health)) = answer("/health");
    let unknown = |_| Health { status: "unknown".into(), ..Health::default() };
    Ok(Look { stats, health: serde_json::from_str(&health).unwrap_or_else(unknown) })
}
