//! Standard output.
//!
//! Responsible for writing in large pieces, and for leaving colours out where they do not belong.

use anstream::AutoStream;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// What is gathered before it is written.
const PIECE: usize = 64 * 1024;

/// Standard output, gathered.
#[derive(Debug)]
pub(super) struct Screen {
    out: AutoStream<io::Stdout>,
    gathered: Vec<u8>,
    terminal: bool,
}

impl Screen {
    /// The process's standard output; colours by terminal, NO_COLOR and CLICOLOR_FORCE.
    pub(super) fn stdout() -> Screen {
        let terminal = io::stdout().is_terminal();
        Screen { out: anstream::stdout(), gathered: Vec::new(), terminal }
    }

    /// Whether a person looks at it.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes text that ends its own lines.
    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < PIECE { Ok(()) } else { self.flush() }
    }

    /// Writes a value as JSON over several lines.
    pub(super) fn json<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(&text)
    }

    /// Writes a value as JSON in one line, at once.
    pub(super) fn json_line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// Clears the terminal and goes to its first line.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Past the stream that takes colours out: this is for terminals only.
        self.flush()?;
        if self.terminal {
            let mut out = io::stdout();
            out.write_all(b"\x1b[H\x1b[2J\x1b[3J")?;
            out.flush()?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let gathered = std::mem::take(&mut self.gathered);
        self.out.write_all(&gathered)?;
        self.out.flush()
    }
}
