//! A table that fits a width: columns that matter less are left out, the last one takes what is left.

use super::line::{Line, Style};

/// Of the last column this much is shown, or another is left out.
const REST_MIN: usize = 12;
/// Names are cut at this.
const NAME_MAX: usize = 28;

/// A column.
pub struct Column {
    pub title: &'static str,
    /// Words begin at the same place, numbers end there.
    pub words: bool,
    /// The one with the highest is left out first; those with 0 stay.
    pub spare: u8,
}

/// A row: what its first cell is called, its numbers, and in the end some words.
pub struct Row {
    pub name: String,
    pub cells: Vec<String>,
    pub rest: (Style, String),
    /// It moves nothing.
    pub quiet: bool,
}

/// Tables with the same columns.
pub struct Table {
    /// What the rows are; the title of the first column.
    pub title: &'static str,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
}

impl Table {
    /// Its head and the first `shown` rows, no wider than `width`.
    pub fn lines(&self, shown: usize, width: usize) -> Vec<Line> {
        let rows = &self.rows[..shown.min(self.rows.len())];
        let title = match shown < self.rows.len() {
            true => format!("{} {shown}/{}", self.title, self.rows.len()),
            false => self.title.to_owned(),
        };
        let name = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let name = name.min(NAME_MAX).max(title.chars().count());
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = rows.iter().map(|row| row.cells[at].chars().count());
                cells.max().unwrap_or(0).max(self.columns[at].title.len())
            })
            .collect();
        let kept = self.kept(name, &widths, rows, width);
        let mut head = format!("{title:<name$}");
        kept.iter().for_each(|at| head.push_str(&self.cell(*at, self.columns[*at].title, widths[*at])));
        head.push_str("  ");
        let mut lines = vec![Line::of(Style::Head, format!("{head:<width$}")).cut(width)];
        for row in rows {
            let mut text = format!("{:<name$}", cut(&row.name, name));
            kept.iter().for_each(|at| text.push_str(&self.cell(*at, &row.cells[*at], widths[*at])));
            text.push_str("  ");
            let style = if row.quiet { Style::Quiet } else { Style::Plain };
            lines.push(Line(vec![(style, text), row.rest.clone()]).cut(width));
        }
        lines
    }

    fn cell(&self, column: usize, text: &str, width: usize) -> String {
        match self.columns[column].words {
            true => format!("  {text:<width$}"),
            false => format!("  {text:>width$}"),
        }
    }

    /// The columns that fit.
    fn kept(&self, name: usize, widths: &[usize], rows: &[Row], width: usize) -> Vec<usize> {
        let rest = rows.iter().map(|row| row.rest.1.chars().count()).max().unwrap_or(0).min(REST_MIN);
        // One that says nothing of any row is no loss.
        let says = |at: &usize| rows.iter().any(|row| !matches!(row.cells[*at].as_str(), "" | "-"));
        let mut kept: Vec<usize> =
            (0..widths.len()).filter(|at| self.columns[*at].spare == 0 || says(at)).collect();
        while name + kept.iter().map(|at| widths[*at] + 2).sum::<usize>() + 2 + rest > width {
            let spare = kept.iter().max_by_key(|at| (self.columns[**at].spare, **at)).copied();
            match spare.filter(|at| self.columns[*at].spare > 0) {
                Some(spare) => kept.retain(|at| *at != spare),
                None => break,
            }
        }
        kept
    }
}

/// The text, or the beginning of it with a sign that there is more.
pub fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['~']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let column = |title, spare| Column { title, words: false, spare };
        let row = |name: &str, cells: [&str; 3], rest: &str| Row {
            name: name.into(),
            cells: cells.map(String::from).into(),
            rest: (Style::Plain, rest.into()),
            quiet: false,
        };
        Table {
            title: "SINK",
            columns: vec![column("out/s", 0), column("p99", 2), column("buffer", 1)],
            rows: vec![row("loki", ["12.3k", "12ms", "-"], "ok"), row("archive", ["7", "3.2s", "-"], "full")],
        }
    }

    fn text(table: &Table, shown: usize, width: usize) -> String {
        table.lines(shown, width).iter().map(|line| format!("{}|\n", line.text())).collect()
    }

    #[test]
    fn a_table_leaves_out_what_says_nothing_and_then_what_matters_least() {
        assert_eq!(
            text(&table(), 9, 32),
            "SINK     out/s   p99            |\nloki     12.3k  12ms  ok|\narchive      7  3.2s  full|\n"
        );
        assert_eq!(
            text(&table(), 9, 22),
            "SINK     out/s        |\nloki     12.3k  ok|\narchive      7  full|\n"
        );
        assert_eq!(text(&table(), 9, 9), "SINK     |\nloki     |\narchive  |\n");
    }

    #[test]
    fn a_table_that_is_cut_says_so_and_a_long_name_as_well() {
        let mut table = table();
        assert_eq!(
            text(&table, 1, 40),
            "SINK 1/2  out/s   p99                   |\nloki      12.3k  12ms  ok|\n"
        );
        table.rows[0].name = "x".repeat(40);
        assert!(text(&table, 9, 60).contains(&format!("{}~  12.3k", "x".repeat(27))));
    }
}
