//! The table, for people and as JSON.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::Path,
};

use serde::Serialize;

use crate::Failure;

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// The same of something that has no more to do than it must.
    baseline: Option<f64>,
    /// The value in baselines.
    ratio: Option<f64>,
    /// What is asked of it.
    bar: Option<String>,
    /// Whether it is so.
    ok: Option<bool>,
    #[serde(skip)]
    remark: String,
}

impl Row {
    /// A figure of which nothing is asked.
    pub(crate) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, baseline: None, ratio: None, bar: None, ok: None, remark: String::new() }
    }

    /// Beside this.
    pub(crate) fn beside(self, baseline: f64, what: &str) -> Self {
        let remark = if self.remark.is_empty() { format!("beside {what}") } else { self.remark };
        // What is printed as nothing has no multiples.
        let ratio = (baseline.abs() >= 0.0005).then(|| self.value / baseline);
        Self { baseline: Some(baseline), ratio, remark, ..self }
    }

    /// The ratio should be this or more.
    pub(crate) fn ratio_at_least(self, least: f64) -> Self {
        let ok = self.ratio.is_some_and(|ratio| ratio >= least);
        Self { bar: Some(format!("ratio >= {least}")), ok: Some(ok), ..self }
    }

    /// The ratio should be this or less.
    pub(crate) fn ratio_at_most(self, most: f64) -> Self {
        let ok = self.ratio.is_some_and(|ratio| ratio <= most);
        Self { bar: Some(format!("ratio <= {most}")), ok: Some(ok), ..self }
    }

    /// The value should be this or more.
    pub(crate) fn at_least(self, least: f64) -> Self {
        Self { bar: Some(format!(">= {}", figure(least))), ok: Some(self.value >= least), ..self }
    }

    /// The value should be this or less, which is this in words.
    pub(crate) fn at_most(self, most: f64, words: &str) -> Self {
        let bar = if words.is_empty() { String::new() } else { format!(" = {words}") };
        Self { bar: Some(format!("<= {}{bar}", figure(most))), ok: Some(self.value <= most), ..self }
    }

    /// With a remark for people.
    pub(crate) fn remark(self, remark: impl Into<String>) -> Self {
        Self { remark: remark.into(), ..self }
    }
}

/// Everything measured so far.
pub(crate) struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
    only: Option<String>,
}

impl Report {
    /// An empty one, which takes rows of this name alone if there is one.
    pub(crate) fn new(only: Option<&str>) -> Self {
        Self { rows: Vec::new(), notes: Vec::new(), only: only.map(str::to_owned) }
    }

    /// Takes a row in, and shows it as what is known by now.
    pub(crate) fn add(&mut self, row: Row) {
        if self.only.as_ref().is_none_or(|only| row.name == only) {
            progress(row.name, &format!("{} {}", figure(row.value), row.unit));
            self.rows.push(row);
        }
    }

    /// Says something beside the table.
    pub(crate) fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    /// To standard output.
    pub(crate) fn print(&self) {
        let heads = ["what", "value", "unit", "baseline", "ratio", "bar", "ok", ""].map(str::to_owned);
        let lines: Vec<[String; 8]> = std::iter::once(heads).chain(self.rows.iter().map(cells)).collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..8).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                let _ = if [1, 3, 4].contains(&column) {
                    write!(text, "{cell:>width$}  ")
                } else {
                    write!(text, "{cell:<width$}  ")
                };
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "· {note}");
        }
        // A reader that is gone is no reason to fail.
        let _ = io::stdout().write_all(text.as_bytes());
    }

    /// To a file.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        Ok(fs::write(path, serde_json::to_vec_pretty(&self.rows)?)?)
    }
}

fn cells(row: &Row) -> [String; 8] {
    let number = |number: Option<f64>| number.map(figure).unwrap_or_default();
    let ok = row.ok.map(|ok| if ok { "yes" } else { "NO" }).unwrap_or_default();
    [
        row.name.to_owned(),
        figure(row.value),
        row.unit.to_owned(),
        number(row.baseline),
        number(row.ratio),
        row.bar.clone().unwrap_or_default(),
        ok.to_owned(),
        row.remark.clone(),
    ]
}

/// Three digits that count.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// What is being done, for people who wait.
#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn progress(name: &str, what: &str) {
    eprintln!("  {name}: {what}");
}

/// Says why there is no table.
#[expect(clippy::print_stderr, reason = "this is a program for a terminal")]
pub(crate) fn complain(error: &dyn std::error::Error) {
    eprintln!("bench: {error}");
}
