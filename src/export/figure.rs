//! Figures as SVG: numbers in, text out. A page gets them as elements that take its colours, a file brings its own.
//!
//! Every bar has its name and its exact number beside it, so there are no axes to read.

use std::fmt::Write as _;

/// Width of a figure in a page: that of a telephone, so that texts keep their size there.
pub const PAGE_WIDTH: u32 = 340;

/// Width of a figure in a file.
pub const FILE_WIDTH: u32 = 680;

/// Colours by what they are for, in the light and in the dark. In a page and in a file they are the same.
pub const COLOURS: &str = "\
:root{--paper:#fff;--raised:#f6f7f9;--ink:#1b2028;--muted:#667080;--line:#e1e5ea;--accent:#2f6fb4;--tint:#d9e7f6;\
--drop:#c9832b;--skip:#a7afba;--add:#e4f5e9;--add-ink:#155f33;--del:#fdebea;--del-ink:#8f2720;color-scheme:light dark}\
@media(prefers-color-scheme:dark){:root{--paper:#14171c;--raised:#1c2027;--ink:#e3e7ec;--muted:#97a1ae;--line:#2c323b;\
--accent:#6aa9e9;--tint:#233b55;--drop:#d99a4a;--skip:#5d6672;--add:#15301f;--add-ink:#a5e3bb;--del:#3a1d1c;--del-ink:#f5b5ae}}";

/// How classes of elements look.
pub const LOOK: &str = "\
svg.figure text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;\
fill:var(--ink);font-variant-numeric:tabular-nums}\
svg.figure .bar,svg.figure .column{fill:var(--tint)}svg.figure .column{fill:var(--accent)}\
svg.figure .kept{fill:var(--accent)}svg.figure .dropped{fill:var(--drop)}svg.figure .skipped{fill:var(--skip)}\
svg.figure .paper{fill:var(--paper)}svg.figure .rule{stroke:var(--line)}\
svg.figure text.muted{fill:var(--muted)}svg.figure text.small{font-size:10px}svg.figure text.strong{font-weight:600}";

/// Room around the figure in a file: at the sides and below, and above, where the title is.
const FILE_MARGINS: [u32; 2] = [12, 42];

/// Height of a bar with its gap.
const BAR_HEIGHT: u32 = 25;

/// Average width of a character, and that of a digit at the size of columns' numbers.
const CHARACTER_WIDTH: f64 = 6.6;

/// Room above columns for their numbers, which are turned; room below for names; height of the highest column.
const COLUMN_ROOM: (f64, f64, f64) = (52.0, 20.0, 120.0);

/// A figure, still without a place.
pub struct Figure {
    title: String,
    width: u32,
    height: u32,
    elements: String,
}

impl Figure {
    fn new(title: &str, width: u32, height: u32) -> Self {
        Figure { title: title.to_owned(), width, height, elements: String::new() }
    }

    /// An element of a page of HTML, which has [`COLOURS`] and [`LOOK`] in its style.
    pub fn in_page(&self) -> String {
        self.svg("", [0, 0], "")
    }

    /// A file, with its title and a margin.
    pub fn in_file(&self) -> String {
        let [side, top] = FILE_MARGINS;
        let first = format!(
            "<style>{COLOURS}{LOOK}</style><rect class=\"paper\" x=\"-{side}\" y=\"-{top}\" width=\"100%\" height=\"100%\"/>\
             <text class=\"strong\" x=\"0\" y=\"-18\">{}</text>",
            escaped(&self.title)
        );
        self.svg(" xmlns=\"http://www.w3.org/2000/svg\"", FILE_MARGINS, &first) + "\n"
    }

    fn svg(&self, attributes: &str, [side, top]: [u32; 2], first: &str) -> String {
        let (width, height) = (self.width + 2 * side, self.height + side + top);
        let title = escaped(&self.title);
        format!(
            "<svg class=\"figure\"{attributes} role=\"img\" aria-label=\"{title}\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"-{side} -{top} {width} {height}\"><title>{title}</title>{first}{}</svg>",
            self.elements
        )
    }

    fn rect(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        let _infallible = write!(
            self.elements,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        );
    }

    fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
        let _infallible = write!(
            self.elements,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        );
    }
}

/// Bars one below the other, each with name, number and its part of `total`.
pub fn bars(title: &str, width: u32, bars: &[(String, u64)], total: u64) -> Figure {
    let mut figure = Figure::new(title, width, bars.len().max(1) as u32 * BAR_HEIGHT);
    if bars.is_empty() {
        figure.text("muted", (8.0, 15.5), "start", "none");
    }
    let highest = bars.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1);
    let full = f64::from(width);
    for (at, (name, n)) in bars.iter().enumerate() {
        let y = at as f64 * f64::from(BAR_HEIGHT);
        let length = full * *n as f64 / highest as f64;
        // A bar that is there is seen.
        let length = if *n > 0 { length.max(2.0) } else { 0.0 };
        figure.rect("bar", [0.0, y, length, f64::from(BAR_HEIGHT) - 3.0]);
        let room = ((full - 142.0) / CHARACTER_WIDTH) as usize;
        figure.text("", (8.0, y + 15.5), "start", &cut(name, room));
        figure.text("", (full - 68.0, y + 15.5), "end", &grouped(*n));
        figure.text("muted", (full - 8.0, y + 15.5), "end", &percent(*n, total));
    }
    figure
}

/// Columns side by side, each with its number on it. Names of which there is no room are left out, evenly.
pub fn columns(title: &str, width: u32, columns: &[(String, u64)]) -> Figure {
    let (above, below, height) = COLUMN_ROOM;
    let mut figure = Figure::new(title, width, (above + below + height) as u32);
    let highest = columns.iter().map(|(_, n)| *n).max().unwrap_or(0).max(1);
    let step = f64::from(width) / columns.len().max(1) as f64;
    let thick = (step * 0.78).min(44.0);
    let widest = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(1) as f64 * 5.8 + 12.0;
    let every = (widest / step).ceil().max(1.0) as usize;
    let floor = above + height;
    for (at, (name, n)) in columns.iter().enumerate() {
        let middle = (at as f64 + 0.5) * step;
        let length = height * *n as f64 / highest as f64;
        let length = if *n > 0 { length.max(1.0) } else { 0.0 };
        figure.rect("column", [middle - thick / 2.0, floor - length, thick, length]);
        let (x, y) = (middle + 3.5, floor - length - 5.0);
        if *n > 0 && step >= 9.0 {
            let _infallible = write!(
                figure.elements,
                "<text class=\"muted small\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{}</text>",
                grouped(*n)
            );
        }
        // Counted from the last one, which is the one that is looked for.
        if (columns.len() - 1 - at).is_multiple_of(every) {
            let anchor = if columns.len() > 1 && at + 1 == columns.len() && widest > step { "end" } else { "middle" };
            let x = if anchor == "end" { f64::from(width) } else { middle };
            figure.text("muted small", (x, floor + 14.0), anchor, name);
        }
    }
    let _infallible =
        write!(figure.elements, "<line class=\"rule\" x1=\"0\" x2=\"{width}\" y1=\"{floor:.1}\" y2=\"{floor:.1}\"/>");
    figure
}

/// One bar in parts (class, name and number), with what each is below.
pub fn parts(title: &str, width: u32, parts: &[(&str, &str, u64)]) -> Figure {
    let mut figure = Figure::new(title, width, 78);
    let total: u64 = parts.iter().map(|(_, _, n)| n).sum();
    let (full, mut x) = (f64::from(width), 0.0);
    for (class, _, n) in parts {
        let length = full * *n as f64 / total.max(1) as f64;
        if *n > 0 {
            figure.rect(class, [x, 0.0, (length - 1.5).max(1.0), 22.0]);
        }
        x += length;
    }
    let step = full / parts.len().max(1) as f64;
    for (at, (class, name, n)) in parts.iter().enumerate() {
        let x = at as f64 * step;
        figure.rect(class, [x, 35.0, 9.0, 9.0]);
        figure.text("muted", (x + 15.0, 44.0), "start", name);
        figure.text("strong", (x, 63.0), "start", &grouped(*n));
        let after = grouped(*n).len() as f64 * 7.2 + 7.0;
        figure.text("muted", (x + after, 63.0), "start", &percent(*n, total));
    }
    figure
}

/// The first `most` of `ranked`, and what the others come to.
pub fn top(ranked: &[(&str, u64)], most: usize) -> Vec<(String, u64)> {
    let mut bars: Vec<(String, u64)> = ranked.iter().take(most).map(|(name, n)| ((*name).to_owned(), *n)).collect();
    let others: u64 = ranked.iter().skip(most).map(|(_, n)| n).sum();
    match ranked.len().saturating_sub(most) {
        0 => {}
        1 => bars.push(("1 other".into(), others)),
        n => bars.push((format!("{} others", grouped(n as u64)), others)),
    }
    bars
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves up to four digits before the point.
pub fn size(bytes: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", grouped(bytes / unit), bytes % unit / (unit / 10)),
        None => format!("{bytes} B"),
    }
}

/// The part that `n` is of `total`. What is there is never 0 %, and what is not all never 100 %.
pub fn percent(n: u64, total: u64) -> String {
    if total == 0 {
        return String::new();
    }
    let per_mille = (u128::from(n) * 1000 + u128::from(total) / 2) / u128::from(total);
    match per_mille {
        0 if n > 0 => "<0.1 %".into(),
        1000 if n < total => ">99.9 %".into(),
        1000 => "100 %".into(),
        _ => format!("{}.{} %", per_mille / 10, per_mille % 10),
    }
}

/// At most so many characters, with a mark where some are missing.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// What is unseen or turns the direction of writing, spelled out, so that a text looks like what it is.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) {
            let _infallible = write!(out, "[U+{:04X}]", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls but tabs, marks of direction, spaces of no width, tags, separators of lines, noncharacters; no joiner of emoji.
fn is_unseen(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(c) & 0xfffe == 0xfffe
}

fn escaped(text: &str) -> String {
    visible(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rounded_but_never_away() {
        for (n, total, expected) in [
            (0, 0, ""),
            (0, 7, "0.0 %"),
            (1, 7, "14.3 %"),
            (1, 1_000_000, "<0.1 %"),
            (999_999, 1_000_000, ">99.9 %"),
            (7, 7, "100 %"),
            (u64::MAX / 2, u64::MAX, "50.0 %"),
        ] {
            assert_eq!(percent(n, total), expected, "{n} of {total}");
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 999, 1000, 3_972_345_678, 1 << 42].map(size),
            ["0 B", "999 B", "1.0 kB", "3.9 GB", "4,398.0 GB"]
        );
    }

    #[test]
    fn hostile_names_stay_text() {
        let name = "</text><script>\"&\u{202e}\u{1b}[31m\u{feff}\u{2028}x";
        assert_eq!(visible("a\tb\0\u{1b}\u{7f}\u{85}\u{202e}ü👩‍🔬"), "a\tb[U+0000][U+001B][U+007F][U+0085][U+202E]ü👩‍🔬");
        let all = [(name.to_owned(), 5), ("b".to_owned(), 0)];
        let figures =
            [bars("a \"title\" <b>", 680, &all, 5), columns(name, 680, &all), parts("t", 680, &[("kept", name, 1)])];
        for figure in figures {
            for svg in [figure.in_page(), figure.in_file()] {
                assert!(!svg.contains("<script") && !svg.contains(['\u{202e}', '\u{1b}', '\u{feff}']), "{svg}");
                assert!(svg.starts_with("<svg class=\"figure\"") && svg.trim_end().ends_with("</svg>"), "{svg}");
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            }
        }
    }

    #[test]
    fn nothing_to_draw_is_no_error() {
        for figure in [bars("t", 340, &[], 0), columns("t", 340, &[]), parts("t", 340, &[])] {
            assert!(!figure.in_file().contains("NaN"));
        }
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let ranked = [("a", 5), ("b", 3), ("c", 1)];
        assert_eq!(top(&ranked, 3).len(), 3);
        assert_eq!(top(&ranked, 1), [("a".to_owned(), 5), ("2 others".to_owned(), 4)]);
        assert_eq!((cut("abcdef", 6), cut("abcdef", 4)), ("abcdef".to_owned(), "abc…".to_owned()));
    }
}
