use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::*;

fn json(text: &str) -> Json {
    read(&Node::parse(text, Twice::Refused).unwrap()).unwrap()
}

fn refusal(text: &str) -> Error {
    match Node::parse(text, Twice::Refused) {
        Err(error) => error,
        Ok(node) => read::<Json>(&node).unwrap_err(),
    }
}

#[test]
fn scalars_are_what_the_core_schema_says() {
    let text = "[null, ~, , true, False, yes, 7, -7, 1.5, 1e3, nan, '7', \"true\", !!str 7, a b]";
    let expected =
        json!([null, null, null, true, false, "yes", 7, -7, 1.5, 1000.0, "nan", "7", "true", "7", "a b"]);
    assert_eq!(json(&text.replace(", ,", ", ~,")), expected);
    assert_eq!(json(""), Json::Null);
    assert_eq!(json("\u{feff}a: 1\n"), json!({"a": 1}));
    assert_eq!(json("a:\nb: |\n  x\n  y\n"), json!({"a": null, "b": "x\ny\n"}));
}

#[test]
fn aliases_and_merged_mappings_stand_for_what_they_name() {
    let text = "base: &base {a: 1, b: [2]}\nover: {<<: *base, a: 3}\nlist: &list [*base]\n\
                both: {<<: [{a: 5}, *base]}\nagain: *list\n";
    let base = json!({"a": 1, "b": [2]});
    let expected = json!({
        "base": base, "over": {"a": 3, "b": [2]}, "list": [base], "both": {"a": 5, "b": [2]}, "again": [base],
    });
    assert_eq!(json(text), expected);
    assert!(matches!(refusal("a: {<<: x}").cause, Cause::Expected(_)));
}

#[test]
fn a_short_file_does_not_become_an_endless_one() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}, ", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", alias.trim_end_matches(", ")).unwrap();
    }
    assert!(matches!(refusal(&bomb).cause, Cause::TooLarge));
    assert!(matches!(refusal(&format!("{}x", "- ".repeat(70))).cause, Cause::TooLarge));
    assert!(Node::parse(&"[".repeat(100_000), Twice::Refused).is_err());
    assert!(Node::parse(&format!("{}{}", "[".repeat(60), "]".repeat(60)), Twice::Refused).is_ok());
    let mut chain = "a0: &a0 x\n".to_owned();
    for level in 1..100 {
        writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(matches!(refusal(&chain).cause, Cause::TooLarge));
}

#[test]
fn a_key_counts_once_or_the_last_time() {
    let error = refusal("a: 1\nb: {c: 1,\n  c: 2}\n");
    assert!(matches!(&error.cause, Cause::Twice(key) if key == "c"), "{error}");
    assert_eq!(error.at(), Location { line: 3, column: 3 });
    let node = Node::parse("a: 1\na: 2\n", Twice::LastCounts).unwrap();
    assert_eq!(read::<Json>(&node).unwrap(), json!({"a": 2}));
}

#[test]
fn what_is_not_one_document_of_known_types_is_refused() {
    assert!(matches!(refusal("a: 1\n---\nb: 2\n").cause, Cause::SecondDocument));
    assert!(matches!(refusal("a: !secret x\n").cause, Cause::Syntax(cause) if cause.contains("!secret")));
    assert!(matches!(refusal("a: *b\n").cause, Cause::Syntax(_)));
    assert!(matches!(refusal("a: [\n").cause, Cause::Syntax(_)));
}
