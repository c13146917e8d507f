//! `status`: what is kept and how long it lives. It never touches the network and shows no secret.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{Context, DONE, output};
use crate::desk;
use crate::error::{Error, ExitCode};
use crate::inventory::{self, Item};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Profiles of the settings file; all where none is named
    #[arg(value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Output form
    #[arg(short, long, value_enum, default_value_t = output::Form::Table)]
    output: output::Form,
}

#[derive(Serialize)]
struct List {
    items: Vec<Item>,
}

pub(super) fn run(flags: Flags, context: &mut Context) -> Result<ExitCode, Error> {
    let settings = desk::settings(&context.env, context.config.as_ref())?;
    let mut wanted = flags.profiles;
    wanted.extend(context.profile.take());
    let now = (context.clock)();
    // Before a call of our own makes the key elsewhere.
    let reasons = match context.verbose {
        0 => Vec::new(),
        _ => inventory::place_reasons(&context.env, context.config.as_ref())?,
    };
    let list = List { items: inventory::of(&context.env, settings, wanted, now)? };
    output::document(flags.output, "StatusList", &list, || table(&list.items))?;
    for reason in reasons {
        output::note(&reason);
    }
    Ok(DONE)
}

/// Columns as kubectl writes them: upper-case heads, three blanks between.
fn table(items: &[Item]) -> String {
    let head = ["PROFILE", "SOURCE", "CLUSTER", "TOKEN", "USABLE UNTIL", "LIMITED BY", "SESSION", "STORE"];
    let rows: Vec<[String; 8]> = items.iter().map(Item::row).collect();
    let mut widths = head.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&head, widths);
    for row in &rows {
        text.push_str(&line(&row.each_ref().map(String::as_str), widths));
    }
    text
}

fn line(cells: &[&str; 8], widths: [usize; 8]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a String does not fail.
        let _ = write!(line, "{cell:width$}   ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}
