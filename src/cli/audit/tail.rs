//! `portcullis audit tail`: a log's last records, and those that come.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::select::{DEFAULT, Select};
use super::show;
use crate::audit::filter::Filter;
use crate::audit::follow::{Change, Follow, FollowError};
use crate::audit::query::{Line, Query, Tally};
use crate::cli::{Exit, Paint, colours, complain};

/// Show a log's last records, and those that come.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The log.
    #[arg(default_value = DEFAULT)]
    file: PathBuf,
    /// So many of the records that are there, of those that the filters fit.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 10)]
    last: usize,
    /// Then go on with what is written, also over rotations, until interrupted.
    #[arg(short, long)]
    follow: bool,
    /// Print the records' lines as they are.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    select: Select,
}

/// Shows the end, and follows.
pub(super) fn run(args: &Args, out: &mut impl Write) -> io::Result<Exit> {
    let ended = args
        .select
        .filter(Timestamp::now())
        .map_err(Ended::Said)
        .and_then(|filter| {
            let tail = Tail {
                args,
                query: Query::new(&filter),
                filter: &filter,
                tally: Tally::default(),
                paint: Paint(colours()),
                any: false,
                incomplete: false,
                out: BufWriter::new(out),
            };
            if args.follow {
                tail.follow()
            } else {
                tail.once()
            }
        });
    match ended {
        Ok(exit) => Ok(exit),
        Err(Ended::Output(error)) => Err(error),
        Err(Ended::Said(error)) => {
            complain(&error);
            Ok(Exit::Usage)
        }
        Err(Ended::Input(error)) => {
            complain(&format!("{}: {error}", args.file.display()));
            Ok(Exit::Usage)
        }
    }
}

struct Tail<'a, W: Write> {
    args: &'a Args,
    filter: &'a Filter,
    query: Query<'a>,
    tally: Tally,
    paint: Paint,
    any: bool,
    incomplete: bool,
    out: BufWriter<W>,
}

/// Why it stopped.
enum Ended {
    Input(io::Error),
    Output(io::Error),
    Said(String),
}

impl From<FollowError> for Ended {
    fn from(error: FollowError) -> Ended {
        match error {
            FollowError::Input(error) => Ended::Input(error),
            FollowError::Output(error) => Ended::Output(error),
        }
    }
}

impl<W: Write> Tail<'_, W> {
    fn once(mut self) -> Result<Exit, Ended> {
        let log = Follow::open(&self.args.file).map_err(Ended::Input)?;
        let rest = log.rest().map_err(Ended::Input)?;
        // a record that lacks only its line feed is one
        let mut unended = None;
        if !rest.is_empty() {
            let line = Line {
                text: &rest,
                ended: false,
                bytes: rest.len() as u64,
            };
            unended = Query::new(self.filter)
                .judge(&line, &mut self.tally)
                .map(|_| line);
        }
        let count = self.args.last - usize::from(unended.is_some() && self.args.last > 0);
        self.last(&log, count)?;
        if let Some(line) = unended.filter(|_| self.args.last > 0) {
            self.show(&line).map_err(Ended::Output)?;
        }
        self.tell();
        self.out.flush().map_err(Ended::Output)?;
        Ok(match (self.incomplete, self.any) {
            (true, _) => Exit::Usage,
            (false, true) => Exit::Fine,
            (false, false) => Exit::Found,
        })
    }

    /// Until it is interrupted.
    fn follow(mut self) -> Result<Exit, Ended> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Ended::Input)?;
        runtime.block_on(async {
            // before anything is shown: who sees a line may interrupt
            let mut interrupt = signal(SignalKind::interrupt()).map_err(Ended::Input)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(Ended::Input)?;
            let mut log = Follow::open(&self.args.file).map_err(Ended::Input)?;
            self.last(&log, self.args.last)?;
            let mut look = tokio::time::interval(LOOK_EVERY);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                self.tell();
                self.out.flush().map_err(Ended::Output)?;
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => return Ok(Exit::Fine),
                    _ = terminate.recv() => return Ok(Exit::Fine),
                    _ = look.tick() => {}
                }
                let changes = log.poll(&mut |line| self.show(line))?;
                for change in changes {
                    let path = self.args.file.display();
                    match change {
                        Change::Next => {}
                        Change::Lost => complain(&format!(
                            "{path}: a rotated file was removed before it could be read"
                        )),
                        Change::Half => complain(&format!("{path}: a file ended in half a record")),
                        Change::Emptied => complain(&format!(
                            "{path}: it was emptied; what was written just before may be missing here"
                        )),
                    }
                }
            }
        })
    }

    /// Shows the last records that are there.
    fn last(&mut self, log: &Follow, count: usize) -> Result<(), Ended> {
        let mut query = Query::new(self.filter);
        let mut tally = Tally::default();
        // what is no record takes a place, so that it is told like one
        let mut wanted = |line: &Line<'_>| {
            let unreadable = tally.unreadable;
            query.judge(line, &mut tally).is_some() || tally.unreadable > unreadable
        };
        let lines = log.last(count, &mut wanted).map_err(Ended::Input)?;
        for text in lines {
            let line = Line {
                text: &text,
                ended: true,
                bytes: text.len() as u64 + 1,
            };
            self.show(&line).map_err(Ended::Output)?;
        }
        Ok(())
    }

    fn show(&mut self, line: &Line<'_>) -> io::Result<()> {
        let Some(found) = self.query.judge(line, &mut self.tally) else {
            return Ok(());
        };
        self.any = true;
        if self.args.json {
            show::raw(found.line, &mut self.out)
        } else {
            show::readable(found.line, self.paint, &mut self.out)
        }
    }

    /// Lines that are no records, once for each batch.
    fn tell(&mut self) {
        let tally = std::mem::take(&mut self.tally);
        let path = self.args.file.display();
        if tally.unreadable > 0 {
            self.incomplete = true;
            complain(&format!(
                "{path}: lines that are no records: {}",
                tally.unreadable
            ));
        }
        if tally.half && !self.args.follow {
            complain(&format!(
                "{path}: the last line is half a record, and passed over"
            ));
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
