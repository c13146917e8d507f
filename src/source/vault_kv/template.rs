//! `{cluster}` and `{team}` in a path or field name. Pure; no value may leave its segment.

use crate::error::{ExitCode, Explain};

/// A template that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The field of `vaultKv` that holds it.
    pub setting: &'static str,
    /// The template.
    pub template: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a template or with a value for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A brace without its partner.
    Brace,
    /// A placeholder that there is none of.
    Unknown(String),
    /// A placeholder whose value nobody gave.
    Missing(&'static str),
    /// A value that does not fit into one segment of a path.
    Value(&'static str, Fault),
    /// The whole has an empty, `.` or `..` segment.
    Segment,
}

/// Why a value does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is empty.
    Empty,
    /// It holds a slash.
    Slash,
    /// It holds `..`.
    Climbs,
    /// It holds a control character.
    Control,
}

/// What the placeholders stand for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Values<'a> {
    pub(super) cluster: Option<&'a str>,
    pub(super) team: Option<&'a str>,
}

/// Fills in a template.
pub(super) fn render(
    setting: &'static str,
    template: &str,
    values: Values<'_>,
) -> Result<String, TemplateError> {
    fill(template, values).map_err(|problem| TemplateError {
        setting,
        template: template.to_owned(),
        problem,
    })
}

fn fill(template: &str, values: Values<'_>) -> Result<String, Problem> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}').ok_or(Problem::Brace)?;
        push_literal(&mut text, before)?;
        text.push_str(match name {
            "cluster" => value("cluster", values.cluster)?,
            "team" => value("team", values.team)?,
            other => return Err(Problem::Unknown(other.to_owned())),
        });
        rest = after;
    }
    push_literal(&mut text, rest)?;
    let text = text.trim_matches('/').to_owned();
    // Security: two values side by side may make a `..` that neither is.
    if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(Problem::Segment);
    }
    Ok(text)
}

fn push_literal(text: &mut String, literal: &str) -> Result<(), Problem> {
    if literal.contains('}') {
        return Err(Problem::Brace);
    }
    text.push_str(literal);
    Ok(())
}

/// Security: the values may be a kubeconfig's words; they choose a name, never another folder.
fn value<'a>(name: &'static str, value: Option<&'a str>) -> Result<&'a str, Problem> {
    let value = value.ok_or(Problem::Missing(name))?;
    let fault = if value.is_empty() {
        Fault::Empty
    } else if value.contains(['/', '\\']) {
        Fault::Slash
    } else if value.contains("..") || value == "." {
        Fault::Climbs
    } else if value.chars().any(char::is_control) {
        Fault::Control
    } else {
        return Ok(value);
    };
    Err(Problem::Value(name, fault))
}

impl std::error::Error for TemplateError {}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, template, problem } = self;
        match problem {
            Problem::Missing(name) => {
                write!(formatter, "`{setting}: {template}` needs a `{name}`, which nobody named")
            }
            Problem::Value(name, _) => {
                write!(formatter, "the `{name}` asked for cannot be part of `{setting}: {template}`")
            }
            Problem::Brace | Problem::Unknown(_) | Problem::Segment => {
                write!(formatter, "`{setting}: {template}` is no usable template")
            }
        }
    }
}

impl Explain for TemplateError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn why(&self) -> Option<String> {
        match &self.problem {
            Problem::Brace => Some("it has a brace without its partner".to_owned()),
            Problem::Unknown(name) => Some(format!("there is no `{{{name}}}`")),
            Problem::Missing(_) => None,
            Problem::Value(_, Fault::Empty) => Some("it is empty".to_owned()),
            Problem::Value(_, Fault::Slash) => Some("it holds a slash".to_owned()),
            Problem::Value(_, Fault::Climbs) => Some("it would climb out of its folder".to_owned()),
            Problem::Value(_, Fault::Control) => Some("it holds a control character".to_owned()),
            Problem::Segment => Some("it gives an empty, `.` or `..` segment".to_owned()),
        }
    }

    fn hint(&self) -> Option<String> {
        match &self.problem {
            Problem::Brace | Problem::Unknown(_) => {
                Some("the placeholders are `{cluster}` and `{team}`".to_owned())
            }
            Problem::Missing(name) | Problem::Value(name, _) => Some(format!(
                "set `{name}` in the profile's `vaultKv`, or in the cluster extension of the kubeconfig"
            )),
            Problem::Segment => Some(format!("correct `{}` in the profile's `vaultKv`", self.setting)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: Values<'_> = Values { cluster: Some("prod-eu"), team: Some("payments") };

    fn problem(template: &str, values: Values<'_>) -> Problem {
        render("path", template, values).unwrap_err().problem
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(render("path", "sa/{cluster}/{team}", BOTH).unwrap(), "sa/prod-eu/payments");
        assert_eq!(render("field", "{cluster}-{team}", BOTH).unwrap(), "prod-eu-payments");
        assert_eq!(render("path", "/plain/", Values::default()).unwrap(), "plain");
    }

    #[test]
    fn a_value_is_not_a_template() {
        let values = Values { cluster: Some("{team}"), team: Some("t") };
        assert_eq!(render("path", "{cluster}", values).unwrap(), "{team}");
    }

    #[test]
    fn a_template_or_value_that_cannot_be_used_is_refused() {
        assert_eq!(problem("a/{cluster", BOTH), Problem::Brace);
        assert_eq!(problem("a/cluster}", BOTH), Problem::Brace);
        assert_eq!(problem("a}{team}", BOTH), Problem::Brace);
        assert_eq!(problem("a/{Cluster}", BOTH), Problem::Unknown("Cluster".into()));
        assert_eq!(problem("a/{}", BOTH), Problem::Unknown(String::new()));
        assert_eq!(problem("a//{team}", BOTH), Problem::Segment);
        assert_eq!(problem("", BOTH), Problem::Segment);
        assert_eq!(problem("{cluster}/..", BOTH), Problem::Segment);
        assert_eq!(problem("{team}", Values { cluster: Some("c"), team: None }), Problem::Missing("team"));
        let of = |cluster| problem("{cluster}", Values { cluster: Some(cluster), team: None });
        assert_eq!(of(""), Problem::Value("cluster", Fault::Empty));
        assert_eq!(of("a/b"), Problem::Value("cluster", Fault::Slash));
        assert_eq!(of("a\\b"), Problem::Value("cluster", Fault::Slash));
        assert_eq!(of(".."), Problem::Value("cluster", Fault::Climbs));
        assert_eq!(of("."), Problem::Value("cluster", Fault::Climbs));
        assert_eq!(of("a\nb"), Problem::Value("cluster", Fault::Control));
    }

    #[test]
    fn every_problem_says_what_why_and_what_to_change() {
        let told = |problem| {
            let error = TemplateError { setting: "path", template: "a/{team}".into(), problem };
            assert_eq!(error.exit_code(), ExitCode::Usage);
            format!("{error} | {} | {}", error.why().unwrap_or_default(), error.hint().unwrap())
        };
        assert_eq!(
            told(Problem::Missing("team")),
            "`path: a/{team}` needs a `team`, which nobody named |  | set `team` in the profile's `vaultKv`, or \
             in the cluster extension of the kubeconfig"
        );
        assert_eq!(
            told(Problem::Unknown("tema".into())),
            "`path: a/{team}` is no usable template | there is no `{tema}` | the placeholders are `{cluster}` and \
             `{team}`"
        );
        assert_eq!(
            told(Problem::Brace),
            "`path: a/{team}` is no usable template | it has a brace without its partner | the placeholders are \
             `{cluster}` and `{team}`"
        );
        assert_eq!(
            told(Problem::Segment),
            "`path: a/{team}` is no usable template | it gives an empty, `.` or `..` segment | correct `path` in \
             the profile's `vaultKv`"
        );
        let why = |fault| {
            let text = told(Problem::Value("team", fault));
            assert!(text.starts_with("the `team` asked for cannot be part of `path: a/{team}` | "), "{text}");
            text.split(" | ").nth(1).unwrap().to_owned()
        };
        assert_eq!(why(Fault::Empty), "it is empty");
        assert_eq!(why(Fault::Slash), "it holds a slash");
        assert_eq!(why(Fault::Climbs), "it would climb out of its folder");
        assert_eq!(why(Fault::Control), "it holds a control character");
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_segment(cluster in any::<String>(), team in "[a./\\\\{}\u{0}-]{0,4}") {
            let values = Values { cluster: Some(&cluster), team: Some(&team) };
            if let Ok(path) = render("path", "top/{cluster}{team}/{team}/end", values) {
                prop_assert_eq!(&path, &format!("top/{cluster}{team}/{team}/end"));
                prop_assert_eq!(path.split('/').count(), 4);
                prop_assert!(path.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
                prop_assert!(!path.chars().any(char::is_control));
            }
        }

        #[test]
        fn ordinary_names_always_fit(cluster in "[a-z0-9][a-z0-9-]{0,20}", team in "[a-z0-9][a-z0-9_-]{0,20}") {
            let values = Values { cluster: Some(&cluster), team: Some(&team) };
            let path = render("path", "{cluster}/{team}", values).unwrap();
            prop_assert_eq!(path, format!("{cluster}/{team}"));
        }
    }
}
