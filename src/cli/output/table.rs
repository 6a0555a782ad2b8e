//! Tables without borders, as kubectl prints them.
//!
//! Responsible for the layout. Must not know what is in the cells.

use super::color::Tint;
use tabled::builder::Builder;
use tabled::settings::{Alignment, Padding, Style, object::Cell as At};

/// The space between two columns.
const GAP: usize = 3;

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    /// A cell with a tint.
    pub fn tinted(text: impl Into<String>, tint: Tint) -> Cell {
        Cell { text: text.into(), tint }
    }

    /// A state, in its colour.
    pub fn state(state: impl Into<String>) -> Cell {
        let text = state.into();
        let tint = Tint::of_state(&text);
        Cell { text, tint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), tint: Tint::Plain }
    }
}

/// A table that is filled row by row.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Table {
        Table { rows: vec![headings.iter().map(|text| Cell::from(*text)).collect()] }
    }

    /// A table without headings.
    pub fn bare() -> Table {
        Table { rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, with colours and without space at their ends.
    pub fn render(&self) -> String {
        let mut builder = Builder::default();
        for row in &self.rows {
            builder.push_record(row.iter().map(|cell| one_line(&cell.text)));
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::new(0, GAP, 0, 0)).with(Alignment::left());
        for (y, row) in self.rows.iter().enumerate() {
            for (x, cell) in row.iter().enumerate() {
                if let Some(color) = cell.tint.color() {
                    table.modify(At::new(y, x), color);
                }
            }
        }
        let mut text = String::new();
        for line in table.to_string().lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A cell is one line, whatever a message holds.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let mut table = Table::new(&["NAME", "STATE", "INFO"]);
        table.row(vec!["api".into(), Cell::state("Ready"), "".into()]);
        table.row(vec!["a-long-name".into(), Cell::state("Odd"), "two\nlines".into()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(
            plain,
            "NAME          STATE   INFO\napi           Ready\na-long-name   Odd     two lines\n"
        );
        assert!(table.render().contains("\u{1b}[32mReady\u{1b}[39m"), "{:?}", table.render());
    }
}
