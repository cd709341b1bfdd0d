//! A line of a frame: text in pieces, each with what it stands for; the colours are the terminal's business.

/// What a piece of text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// The heads of tables.
    Head,
    /// What moves nothing at present.
    Quiet,
    /// Late, but safe.
    Warning,
    /// Somebody should do something.
    Alarm,
}

/// A line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<(Style, String)>);

impl Line {
    /// A line of one piece.
    pub fn of(style: Style, text: impl Into<String>) -> Line {
        Line(vec![(style, text.into())])
    }

    /// Its text.
    #[cfg(test)]
    pub fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The first `width` letters of it.
    pub fn cut(self, width: usize) -> Line {
        let mut left = width;
        let mut pieces = Vec::new();
        for (style, text) in self.0 {
            let count = text.chars().count().min(left);
            left -= count;
            if count > 0 {
                pieces.push((style, text.chars().take(count).collect()));
            }
        }
        Line(pieces)
    }

    /// As a terminal shows it, with colours or without; nothing that came from outside steers it.
    pub fn paint(&self, colour: bool) -> String {
        let mut out = String::new();
        for (style, text) in &self.0 {
            let text = crate::cli::stats::printable(text);
            let code = match style {
                Style::Plain => "",
                Style::Head => "1;7",
                Style::Quiet => "2",
                Style::Warning => "33",
                Style::Alarm => "1;31",
            };
            match colour && !code.is_empty() {
                true => out.push_str(&format!("\x1b[{code}m{text}\x1b[0m")),
                false => out.push_str(&text),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_letters_and_steers_nothing() {
        let line =
            Line(vec![(Style::Plain, "caf\u{e9} ".into()), (Style::Alarm, "bad\u{1b}[2J news".into())]);
        assert_eq!(line.clone().cut(8).text(), "caf\u{e9} bad");
        assert_eq!(line.clone().cut(3), Line::of(Style::Plain, "caf"));
        assert_eq!(line.paint(false), "caf\u{e9} bad\u{fffd}[2J news");
        assert_eq!(line.cut(7).paint(true), "caf\u{e9} \x1b[1;31mba\x1b[0m");
    }
}
