//! Tables: columns aligned, two spaces between, nothing after the last one.
//!
//! A whole table knows its widths; rows that come one by one (`flows -f`) are aligned by the widest seen so far.

use super::output::{Screen, Style, clean};

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Text in a style.
    pub(super) fn styled(text: impl AsRef<str>, style: Style) -> Self {
        Self { text: clean(text.as_ref()).into_owned(), style }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::Plain)
    }
}

/// Makes a row of texts and cells.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::cli::table::Cell::from($cell)),*] };
}
pub(super) use row;

impl From<&Self> for Cell {
    fn from(cell: &Self) -> Self {
        cell.clone()
    }
}

/// The widths of columns.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    titles: Vec<&'static str>,
    widths: Vec<usize>,
}

impl Columns {
    /// Columns at least as wide as their titles.
    pub(super) fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), widths: titles.iter().map(|title| title.chars().count()).collect() }
    }

    /// Columns at least that wide, for rows that are not known yet.
    pub(super) fn with_widths(titles: &[&'static str], widths: &[usize]) -> Self {
        let mut columns = Self::new(titles);
        columns.widths.iter_mut().zip(widths).for_each(|(width, least)| *width = (*width).max(*least));
        columns
    }

    /// Makes room for a row.
    fn widen(&mut self, row: &[Cell]) {
        self.widths.iter_mut().zip(row).for_each(|(width, cell)| *width = (*width).max(cell.text.chars().count()));
    }

    /// Prints the titles.
    pub(super) fn print_titles(&self, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        let titles: Vec<Cell> = self.titles.iter().map(|title| Cell::styled(title, Style::Bold)).collect();
        self.print(&titles, screen)
    }

    /// Prints a row, after making room for it.
    pub(super) fn print_row(&mut self, row: &[Cell], screen: &mut Screen<'_>) -> anyhow::Result<()> {
        self.widen(row);
        self.print(row, screen)
    }

    fn print(&self, row: &[Cell], screen: &mut Screen<'_>) -> anyhow::Result<()> {
        let filled = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |last| last + 1);
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&self.widths).take(filled).enumerate() {
            line.push_str(&screen.paint(cell.style, &cell.text));
            if index + 1 < filled {
                let padding = width.saturating_sub(cell.text.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', padding));
            }
        }
        screen.line(line)
    }
}

/// A table that is known as a whole.
#[derive(Debug, Clone)]
pub(super) struct Table {
    columns: Columns,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    pub(super) fn new(titles: &[&'static str]) -> Self {
        Self { columns: Columns::new(titles), rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: Vec<Cell>) {
        self.columns.widen(&row);
        self.rows.push(row);
    }

    /// Prints it; only a remark where it has no rows.
    pub(super) fn print(&self, empty: &str, screen: &mut Screen<'_>) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return screen.line(empty);
        }
        self.columns.print_titles(screen)?;
        self.rows.iter().try_for_each(|row| self.columns.print(row, screen))
    }
}

/// A list in one cell; `-` for an empty one.
pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let text = values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// A value that may be missing, in one cell.
pub(super) fn or_dash<T: AsRef<str>>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.as_ref().to_owned())
}
