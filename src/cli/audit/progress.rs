//! How far a long look through files is, on standard error where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A line that tells how far it is, and goes when it is done.
pub(super) struct Progress {
    /// Bytes of all files; `None` where nobody looks.
    total: Option<u64>,
    read: u64,
    began: Instant,
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn over(files: &[PathBuf], wanted: bool) -> Progress {
        let sizes = || files.iter().filter_map(|file| file.metadata().ok());
        let shown = wanted && io::stderr().is_terminal();
        Progress {
            total: shown.then(|| sizes().map(|of| of.len()).sum()),
            read: 0,
            began: Instant::now(),
            told: None,
        }
    }

    /// So many bytes more were read.
    pub(super) fn read(&mut self, bytes: u64) {
        let Some(total) = self.total else { return };
        self.read += bytes;
        let now = Instant::now();
        let since = now - self.told.unwrap_or(self.began);
        if since >= EVERY {
            self.told = Some(now);
            let line = line(self.read, total, now - self.began);
            let _nobody_looks = write!(io::stderr(), "\r\u{1b}[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.told.is_some() {
            let _nobody_looks = write!(io::stderr(), "\r\u{1b}[K");
        }
    }
}

/// ` 42 %  1234 MB/s  0:17 left`.
fn line(read: u64, total: u64, passed: Duration) -> String {
    let part = (read as f64 / total.max(1) as f64).min(1.0);
    let seconds = passed.as_secs_f64().max(1e-3);
    let left = (seconds / part.max(1e-6) * (1.0 - part)) as u64;
    format!(
        "{:3.0} %  {:.0} MB/s  {}:{:02} left",
        part * 100.0,
        read as f64 / seconds / 1e6,
        left / 60,
        left % 60
    )
}

const EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_speed_and_what_is_left() {
        for (read, total, seconds, expected) in [
            (500_000_000, 2_000_000_000, 30, " 25 %  17 MB/s  1:30 left"),
            (2_000, 1_000, 1, "100 %  0 MB/s  0:00 left"),
        ] {
            assert_eq!(line(read, total, Duration::from_secs(seconds)), expected);
        }
    }
}
