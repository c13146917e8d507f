//! The one table of a run, and what its numbers are made of: medians and ratios of rounds.

/// Rows of text; the last cell says whether the goal was met.
#[derive(Default)]
pub struct Table {
    rows: Vec<[String; 5]>,
    notes: Vec<String>,
    missed: bool,
}

impl Table {
    /// A figure beside its floor, with a goal for their ratio or without one.
    pub fn ratio(&mut self, what: &str, figure: f64, floor: (&str, f64), ratio: f64, goal: Option<f64>) {
        let of = format!("{} ({})", milliseconds(floor.1), floor.0);
        self.row(
            what,
            &milliseconds(figure),
            &of,
            &format!("{ratio:.3}"),
            goal.map(|goal| (ratio <= goal, goal.to_string())),
        );
    }

    /// Any other figure with its goal.
    pub fn row(&mut self, what: &str, figure: &str, floor: &str, ratio: &str, goal: Option<(bool, String)>) {
        let goal = match goal {
            None => String::new(),
            Some((true, goal)) => format!("{goal}  met"),
            Some((false, goal)) => {
                self.missed = true;
                format!("{goal}  MISSED")
            }
        };
        let row = [what, figure, floor, ratio, &goal].map(str::to_owned);
        // As they come too: the whole takes minutes.
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
    }

    /// Something that a reader must know to judge the figures.
    pub fn note(&mut self, line: &str) {
        eprintln!("{line}");
        self.notes.push(line.to_owned());
    }

    pub fn is_met(&self) -> bool {
        !self.missed
    }

    pub fn print(&self) {
        let head = ["what", "figure", "beside", "ratio", "goal"].map(str::to_owned);
        let rows: Vec<&[String; 5]> = std::iter::once(&head).chain(&self.rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..5).map(width).collect();
        println!();
        for row in rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
        for note in &self.notes {
            println!("{note}");
        }
    }
}

pub fn milliseconds(nanoseconds: f64) -> String {
    format!("{:.2} ms", nanoseconds / 1e6)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    quantile(&mut values, 0.5)
}

/// The smallest value that at least this share of all does not exceed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// The median of the ratios of each round.
pub fn ratio(rounds: &[Vec<f64>], of: usize, to: usize) -> f64 {
    median(rounds.iter().map(|round| round[of] / round[to]).collect())
}

pub fn column(rounds: &[Vec<f64>], at: usize) -> Vec<f64> {
    rounds.iter().map(|round| round[at]).collect()
}
