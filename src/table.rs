//! Tables for a terminal: columns as wide as what stands in them.

use unicode_width::UnicodeWidthStr as _;

use crate::text::Style;

/// On which side of its column a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// How a cell is marked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not at all.
    #[default]
    None,
    /// What matters most.
    Bold,
    /// What went wrong.
    Bad,
    /// What matters least.
    Faint,
}

/// Rows under a head. Texts are shown as they are: what came from outside goes through `text::line` first.
pub(crate) struct Table {
    head: Vec<(&'static str, Side)>,
    rows: Vec<Vec<(String, Mark)>>,
}

impl Table {
    pub(crate) fn new(head: &[(&'static str, Side)]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// A row with as many cells as the head.
    pub(crate) fn row(&mut self, cells: Vec<(String, Mark)>) {
        self.rows.push(cells);
    }

    pub(crate) fn draw(&self, style: Style) -> String {
        let mut widths: Vec<usize> = self.head.iter().map(|(name, _)| name.width()).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        let line = |cells: &mut dyn Iterator<Item = (&str, Mark)>| {
            let mut line = String::new();
            let last = self.head.len() - 1;
            for (at, ((text, mark), (width, (_, side)))) in cells.zip(widths.iter().zip(&self.head)).enumerate() {
                let pad = " ".repeat(width.saturating_sub(text.width()));
                let marked = match mark {
                    Mark::None => text.to_owned(),
                    Mark::Bold => style.bold(text),
                    Mark::Bad => style.bad(text),
                    Mark::Faint => style.faint(text),
                };
                let gap = if at == 0 { "" } else { "  " };
                line += &match side {
                    Side::Right => format!("{gap}{pad}{marked}"),
                    // Nothing stands behind the last column.
                    Side::Left if at == last => format!("{gap}{marked}"),
                    Side::Left => format!("{gap}{marked}{pad}"),
                };
            }
            line.truncate(line.trim_end_matches(' ').len());
            line + "\n"
        };
        let mut out = line(&mut self.head.iter().map(|(name, _)| (*name, Mark::Faint)));
        for row in &self.rows {
            out += &line(&mut row.iter().map(|(text, mark)| (text.as_str(), *mark)));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new(&[("name", Side::Left), ("n", Side::Right), ("last", Side::Left)]);
        let cell = |text: &str| (text.to_owned(), Mark::None);
        table.row(vec![cell("a"), cell("1,234"), cell("x")]);
        table.row(vec![cell("模型模型"), cell("5"), cell("")]);
        assert_eq!(table.draw(Style::plain()), "name          n  last\na         1,234  x\n模型模型      5\n");
    }
}
