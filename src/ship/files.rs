//! The log's files and their lines.
//!
//! What is being written is read as far as there are whole lines; what is compressed is decompressed on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::audit::segment;

/// A closed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rotated {
    /// The number of its first record.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

/// The closed files, oldest first. Where one is there plain and compressed, the plain one counts.
pub(super) fn rotated(log: &Path) -> io::Result<Vec<Rotated>> {
    let files = segment::closed_files(log)?.into_iter();
    let numbered = files.filter_map(|path| {
        let (first, _) = segment::closed_as(log, &path)?;
        Some(Rotated { first, path })
    });
    Ok(numbered.collect())
}

/// An open file, read line by line.
#[derive(Debug)]
pub(super) struct Lines {
    source: Source,
    /// Device and inode.
    pub(super) id: (u64, u64),
    /// Bytes before the line that is read next, decompressed.
    pub(super) offset: u64,
}

#[derive(Debug)]
enum Source {
    Plain(BufReader<File>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
}

/// What [`Lines::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line; it is in the buffer, without its line feed.
    Line,
    /// A line longer than any record; it was passed over.
    Long,
    /// No whole line, as yet.
    End,
    /// The file was cut below what had been read; reading goes on at its end.
    Cut,
}

impl Lines {
    /// Opens a file at an offset. `None` where there is nothing in it.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Option<Lines>> {
        let file = regular(path)?;
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Ok(None);
        }
        let gzip = path.extension().is_some_and(|extension| extension == "gz");
        let mut file = BufReader::with_capacity(READ_BYTES, file);
        let source = match gzip {
            true => {
                let mut decoder = MultiGzDecoder::new(file);
                io::copy(&mut decoder.by_ref().take(offset), &mut io::sink())?;
                Source::Gzip(Box::new(BufReader::with_capacity(READ_BYTES, decoder)))
            }
            false => {
                file.seek(SeekFrom::Start(offset))?;
                Source::Plain(file)
            }
        };
        Ok(Some(Lines {
            source,
            id: (metadata.dev(), metadata.ino()),
            offset,
        }))
    }

    /// Reads the next line. One without its line feed isn't there yet: it may still be written to, or cut off.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Next> {
        line.clear();
        let mut length = 0u64;
        loop {
            let reader: &mut dyn BufRead = match &mut self.source {
                Source::Plain(reader) => reader,
                Source::Gzip(reader) => &mut **reader,
            };
            let chunk = match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return self.at_end();
            }
            let end = memchr::memchr(b'\n', chunk);
            let text = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            length += text.len() as u64;
            if length <= LINE_BYTES {
                line.extend_from_slice(text);
            }
            let taken = text.len() + usize::from(end.is_some());
            reader.consume(taken);
            if end.is_some() {
                self.offset += length + 1;
                return Ok(if length > LINE_BYTES {
                    line.clear();
                    Next::Long
                } else {
                    Next::Line
                });
            }
        }
    }

    /// Goes to an offset of a file that isn't compressed.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        if let Source::Plain(reader) = &mut self.source {
            self.offset = reader.seek(SeekFrom::Start(offset))?;
        }
        Ok(())
    }

    /// Goes back to the beginning of a line that isn't whole: what is read of it now may be replaced.
    fn at_end(&mut self) -> io::Result<Next> {
        let Source::Plain(reader) = &mut self.source else {
            return Ok(Next::End);
        };
        let len = reader.get_ref().metadata()?.len();
        let cut = len < self.offset;
        self.offset = self.offset.min(len);
        reader.seek(SeekFrom::Start(self.offset))?;
        Ok(if cut { Next::Cut } else { Next::End })
    }
}

/// Opens a regular file. What is read from a pipe is gone for the one who should have it, so none is even opened.
fn regular(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Device and inode of what is at this path; `None` where nothing is.
pub(super) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::metadata(path) {
        Ok(there) => Ok(Some((there.dev(), there.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last whole lines of the file at this path, as much as fits into the bytes.
pub(super) fn ending(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = regular(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    let whole = memchr::memrchr(b'\n', &end).map_or(0, |at| at + 1);
    end.truncate(whole);
    Ok(end)
}

const READ_BYTES: usize = 64 << 10;
/// Longer than any record: the head of a request is far smaller.
const LINE_BYTES: u64 = 4 << 20;
