//! Several logs as one, in the order of time.
//!
//! Responsible for reading each log in pieces, for the order of their lines and for what a line
//! looks like. Must not change the bytes within a line, nor wait for more of them.

use super::filter::Filter;
use super::{Source, Stop};
use crate::api::server::lines::Lines;
use crate::api::types::time;
use crate::runner::logs::read::{Cursor, Line};
use crate::runner::logs::select::{self, Query};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;

/// So many bytes of lines are read, and sent, at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// How a line is shown.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) timestamps: bool,
    /// After its instance's name.
    pub(super) named: bool,
}

/// Reads one instance's log.
pub(super) struct Reader {
    /// Gone while it is in use on another thread; after that for good if that thread failed.
    cursor: Option<Cursor>,
    filter: Arc<Filter>,
    prefix: String,
    timestamps: bool,
    /// Lines that were read and not sent.
    queue: VecDeque<Line>,
    /// The time of the last line: that of those without one.
    last_at: i64,
    /// Nothing more will be written: a line without an end is the last.
    pub(super) over: bool,
    /// Read to its present end.
    at_end: bool,
    /// How often it was read in this round.
    batches: usize,
}

impl Reader {
    /// Opens a log at the first wanted line. Of lines that are chosen by what is in them the last
    /// `tail` are found by looking at all.
    pub(super) async fn open(
        source: &Source,
        query: Query,
        filter: &Arc<Filter>,
        look: &Look,
    ) -> Result<Reader, Stop> {
        let tail = query.tail.filter(|_| !filter.is_open());
        let query = Query { tail: query.tail.filter(|_| filter.is_open()), ..query };
        let path = source.path.clone();
        let cursor = blocking(move || select::open(&path, &query)).await??;
        let mut reader = Reader {
            cursor: Some(cursor),
            filter: Arc::clone(filter),
            prefix: if look.named { format!("{} | ", source.name) } else { String::new() },
            timestamps: look.timestamps,
            queue: VecDeque::new(),
            last_at: 0,
            over: source.over,
            at_end: false,
            batches: 0,
        };
        if let Some(tail) = tail {
            while !reader.at_end {
                reader.read().await?;
                let surplus = reader.queue.len().saturating_sub(tail);
                reader.queue.drain(..surplus);
            }
            reader.at_end = false;
        }
        Ok(reader)
    }

    /// Reads one batch; at the log's end, what has no end.
    async fn read(&mut self) -> Result<(), Stop> {
        let Some(mut cursor) = self.cursor.take() else {
            self.at_end = true;
            return Ok(());
        };
        let (filter, over) = (Arc::clone(&self.filter), self.over);
        let read = move || {
            let mut lines = cursor.read_lines(BATCH_BYTES)?;
            let at_end = lines.is_empty();
            if at_end && over {
                lines = cursor.finish();
            }
            lines.retain(|line| filter.takes(line));
            Ok::<_, io::Error>((cursor, lines, at_end))
        };
        let (cursor, lines, at_end) = blocking(read).await??;
        self.cursor = Some(cursor);
        self.queue.extend(lines);
        self.at_end = at_end;
        self.batches += 1;
        Ok(())
    }

    /// Sees to it that there is a line in the queue, if there is any to be had.
    async fn fill(&mut self) -> Result<(), Stop> {
        while self.queue.is_empty() && !self.at_end {
            self.read().await?;
        }
        Ok(())
    }

    /// When the next line was written.
    fn next_at(&mut self) -> Option<i64> {
        let at = self.queue.front()?.at;
        // Time goes on within a log, also where the clock was set back.
        self.last_at = at.map_or(self.last_at, |at| at.0.max(self.last_at));
        Some(self.last_at)
    }

    /// Every line ends with a newline, also a program's last words without one.
    fn render_next(&mut self, bytes: &mut Vec<u8>) {
        let Some(line) = self.queue.pop_front() else { return };
        bytes.extend_from_slice(self.prefix.as_bytes());
        if self.timestamps {
            let time = line.at.map_or_else(|| "-".to_owned(), |at| time(at).to_string());
            bytes.extend_from_slice(time.as_bytes());
            bytes.push(b' ');
        }
        bytes.extend_from_slice(&line.text);
        bytes.push(b'\n');
    }
}

/// Sends what there is, in the order of time. `false`: a log was read so often as is allowed at
/// once, and there may be more.
pub(super) async fn merge(
    readers: &mut [&mut Reader],
    batches_max: usize,
    out: &Lines,
) -> Result<bool, Stop> {
    let mut next = BinaryHeap::new();
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.at_end = false;
        reader.batches = 0;
        reader.fill().await?;
        next.extend(reader.next_at().map(|at| Reverse((at, number))));
    }
    let mut bytes = Vec::new();
    let mut whole = true;
    while let Some(Reverse((_, number))) = next.pop() {
        let Some(reader) = readers.get_mut(number) else { continue };
        reader.render_next(&mut bytes);
        if bytes.len() >= BATCH_BYTES {
            out.bytes(std::mem::take(&mut bytes)).await?;
        }
        if reader.queue.is_empty() {
            if reader.batches >= batches_max {
                whole = false;
                break;
            }
            reader.fill().await?;
        }
        next.extend(reader.next_at().map(|at| Reverse((at, number))));
    }
    if !bytes.is_empty() {
        out.bytes(bytes).await?;
    }
    Ok(whole)
}

/// Files are read beside the runtime's thread, which must not wait for a disk.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
    tokio::task::spawn_blocking(read).await.map_err(|error| Stop::Io(io::Error::other(error)))
}
