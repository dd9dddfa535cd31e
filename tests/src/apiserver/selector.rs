//! Label and field selectors, as far as the agent, the manager and kubectl use them.
//!
//! Parsed once per request; a selector that is not understood is refused (a server that ignored it would send too much,
//! and a test would not notice).

use serde_json::Value;

/// Which objects a list or watch is about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Equal(String),
    NotEqual(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Parses both kinds; an empty text selects everything.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Selector, String> {
        Ok(Selector { labels: requirements(labels)?, fields: requirements(fields)? })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let field = |path: &str| {
            let at = path.split('.').try_fold(object, |at, key| at.get(key));
            // A server's indexed fields are empty where the object has none.
            Some(at.and_then(Value::as_str).unwrap_or_default())
        };
        self.labels.iter().all(|(key, test)| test.holds(labels.get(key).and_then(Value::as_str)))
            && self.fields.iter().all(|(path, test)| test.holds(field(path)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let is = |wanted: &String| value == Some(wanted.as_str());
        match self {
            Test::Equal(wanted) => is(wanted),
            Test::NotEqual(wanted) => !is(wanted),
            Test::In(wanted) => wanted.iter().any(is),
            Test::NotIn(wanted) => !wanted.iter().any(is),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

fn requirements(text: &str) -> Result<Vec<(String, Test)>, String> {
    let mut depth = 0_i32;
    // Commas separate requirements, but not inside `in (a,b)`.
    let parts = text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

fn requirement(text: &str) -> Result<(String, Test), String> {
    let pair = |key: &str, test| Ok((key.trim().to_owned(), test));
    if let Some((key, value)) = text.split_once("!=") {
        return pair(key, Test::NotEqual(value.trim().to_owned()));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return pair(key, Test::Equal(value.trim().to_owned()));
    }
    let words = |list: &str| list.split(',').map(|word| word.trim().to_owned()).collect();
    if let Some(list) = text.strip_suffix(')') {
        let (head, list) = list.split_once('(').ok_or_else(|| format!("unbalanced parenthesis in {text:?}"))?;
        return match head.trim().rsplit_once(' ') {
            Some((key, "in")) => pair(key, Test::In(words(list))),
            Some((key, "notin")) => pair(key, Test::NotIn(words(list))),
            _ => Err(format!("unknown operator in {text:?}")),
        };
    }
    match text.strip_prefix('!') {
        Some(key) => pair(key, Test::Absent),
        None if text.contains(char::is_whitespace) => Err(format!("cannot parse the selector {text:?}")),
        None => pair(text, Test::Exists),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select() {
        let object = json!({"metadata": {"name": "x", "labels": {"a": "1", "b": ""}}, "spec": {"nodeName": "n1"}});
        for (labels, fields, expected) in [
            ("", "", true),
            ("a=1", "", true),
            ("a==1,b", "", true),
            ("a!=1", "", false),
            ("c!=1", "", true),
            ("a in (2,1), !c", "", true),
            ("a notin (2, 1)", "", false),
            ("!b", "", false),
            ("", "spec.nodeName=n1,metadata.name=x", true),
            ("", "spec.nodeName=n2", false),
            ("", "status.phase!=Failed", true),
        ] {
            let selector = Selector::parse(labels, fields).unwrap();
            assert_eq!(selector.matches(&object), expected, "{labels:?} {fields:?}");
        }
        assert!(Selector::parse("a near b", "").is_err());
        assert!(Selector::parse("a near (b)", "").is_err());
    }
}
