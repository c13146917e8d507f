//! As much of Markdown as the documents use: fenced blocks, headings, links, code spans.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A page for people.
pub struct Page {
    /// Beneath the root of the tree.
    pub path: String,
    pub text: String,
    pub blocks: Vec<Block>,
}

/// A fenced block, its indentation taken off.
#[derive(Clone, Debug)]
pub struct Block {
    /// What stands behind the fence: a language, perhaps with the word that says what the block is.
    pub info: String,
    pub text: String,
    /// Where its fence is, counted from one.
    pub line: usize,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let blocks = blocks(path, &text);
        Self { path: path.to_owned(), text, blocks }
    }

    /// The blocks of one kind.
    pub fn of(&self, info: &str) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| block.info == info)
    }

    /// The text without what stands in fenced blocks.
    pub fn prose(&self) -> String {
        let mut inside = false;
        let is_prose = |line: &&str| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            !inside && !fence
        };
        self.text.lines().filter(is_prose).collect::<Vec<_>>().join("\n")
    }

    /// The targets of links, images left out.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let parts = prose.split("](").skip(1);
        parts.filter_map(|part| Some(part.split_once(')')?.0.to_owned())).collect()
    }

    /// What stands between backticks, which may go over a line's end.
    pub fn code_spans(&self) -> Vec<String> {
        let prose = self.prose();
        let paragraphs = prose.split("\n\n");
        paragraphs.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
    }

    /// The anchors that GitHub makes of headings.
    pub fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| -> String {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }
}

/// Every page: those of the root, of `docs` and of `examples`.
pub fn pages() -> Vec<Page> {
    let mut paths = Vec::new();
    for folder in [".", "docs", "examples"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                paths.push(if folder == "." { name } else { format!("{folder}/{name}") });
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// The file that a link of a page leads to, and its anchor; none where it leads out of the tree.
pub fn target(page: &Page, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    let own = root().join(&page.path);
    let file = if path.is_empty() { own } else { own.parent().unwrap().join(path) };
    Some((file, anchor))
}

fn blocks(path: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (line, number) in text.lines().zip(1..) {
        let indent = line.len() - line.trim_start().len();
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, None) => None,
            (None, Some(info)) => {
                let block = Block { info: info.trim().to_owned(), text: String::new(), line: number };
                Some((block, indent))
            }
            (Some((block, _)), Some("")) => {
                found.push(block);
                None
            }
            (Some((mut block, indent)), _) => {
                block.text.push_str(line.get(indent..).unwrap_or(line.trim_start()));
                block.text.push('\n');
                Some((block, indent))
            }
        };
    }
    assert!(open.is_none(), "{path}: a block does not end");
    found
}
