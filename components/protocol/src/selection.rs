//! Which nodes and licenses a Slurm job may get, in Slurm's own notation.
//!
//! Slurm's notation has characters that a shell would read, so a text is taken only where it is a whole expression. It is
//! passed on without a shell, as everything is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::values::{MalformedValue, SlurmName, count, is_plain, text_value};

/// Features of nodes as Slurm's `--constraint` takes them: names with `&` and `|` between them, some of them in
/// parentheses, in brackets, or with the number of nodes that must have them, such as `[rack1*2&rack2*2]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Constraint(String);

impl Constraint {
    /// The text, as Slurm reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many nodes it names in numbers; `None` without any.
    pub fn nodes(&self) -> Option<u32> {
        nodes_of(&self.0).flatten()
    }
}

impl From<SlurmName> for Constraint {
    fn from(feature: SlurmName) -> Self {
        Self(feature.into())
    }
}

impl TryFrom<String> for Constraint {
    type Error = MalformedValue;

    fn try_from(text: String) -> Result<Self, MalformedValue> {
        match text.len() <= 256 && nodes_of(&text).is_some() {
            true => Ok(Self(text)),
            false => Err(MalformedValue(
                "must be features of nodes with '&' or '|' between them, such as a100&ib, [rack1|rack2] or [a*2&b*2]",
            )),
        }
    }
}

/// Licenses as Slurm's `--licenses` takes them: `name`, `name:count` or `name@server:count`, separated by commas, such as
/// `ansys:2,matlab`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Licenses(String);

impl Licenses {
    /// Each license with its count; one without a count counts as 1.
    pub fn each(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.split(',').filter_map(one_license)
    }

    /// The same in the limit's spelling, if the limit has as many of each. A label has no case.
    pub fn within(&self, limit: &Self) -> Option<Self> {
        let mut spelled = Vec::new();
        for (name, count) in self.each() {
            let same = |other: &str| other.eq_ignore_ascii_case(name);
            let (own, most) = limit.each().find(|(own, _)| same(own))?;
            let all = self.each().filter(|(other, _)| same(other)).map(|(_, count)| u64::from(count)).sum::<u64>();
            if all > most.into() {
                return None;
            }
            spelled.push(format!("{own}:{count}"));
        }
        Some(Self(spelled.join(",")))
    }
}

impl TryFrom<String> for Licenses {
    type Error = MalformedValue;

    fn try_from(text: String) -> Result<Self, MalformedValue> {
        match text.len() <= 256 && text.split(',').all(|one| one_license(one).is_some()) {
            true => Ok(Self(text)),
            false => Err(MalformedValue("must be name:count, separated by commas, such as ansys:2,matlab:1")),
        }
    }
}

fn one_license(text: &str) -> Option<(&str, u32)> {
    let (name, number) = text.split_once(':').unwrap_or((text, "1"));
    let (own, server) = name.split_once('@').unwrap_or((name, "any"));
    let named = |part: &str| is_plain(part, b"-_.", 64) && !part.starts_with(['-', '.']);
    (named(own) && named(server)).then_some((name, count(number)?))
}

/// Names of nodes as Slurm's `--nodelist` takes them, such as `node[01-04,7],big1`. A path to a file, which sbatch would
/// read, is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Nodelist(String);

impl Nodelist {
    /// How many nodes it names.
    pub fn nodes(&self) -> u32 {
        named_nodes(&self.0).unwrap_or(u32::MAX)
    }
}

impl TryFrom<String> for Nodelist {
    type Error = MalformedValue;

    fn try_from(text: String) -> Result<Self, MalformedValue> {
        match text.len() <= 1024 && named_nodes(&text).is_some() {
            true => Ok(Self(text)),
            false => Err(MalformedValue("must be names of nodes, such as node[01-04,7],big1")),
        }
    }
}

/// Names with commas between them, of which each may have ranges in brackets.
fn named_nodes(text: &str) -> Option<u32> {
    let (mut rest, mut nodes) = (text, 0_u32);
    loop {
        let mut those = 1_u32;
        let mut begun = false;
        loop {
            let end = rest.find(|letter: char| "[],".contains(letter)).unwrap_or(rest.len());
            let (name, after) = rest.split_at_checked(end)?;
            // What begins with brackets has no name, and what begins with a dash is an option.
            let named = is_plain(name, b"-_.", 64) && (begun || !name.starts_with(['-', '.']));
            if !named && (!begun || !name.is_empty()) {
                return None;
            }
            begun = true;
            rest = after;
            let Some(after) = rest.strip_prefix('[') else { break };
            let (ranges, after) = after.split_once(']')?;
            let in_brackets =
                ranges.split(',').map(range).try_fold(0_u32, |all, one| Some(all.saturating_add(one?)))?;
            those = those.saturating_mul(in_brackets);
            rest = after;
        }
        nodes = nodes.saturating_add(those);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return rest.is_empty().then_some(nodes),
        }
    }
}

/// How many numbers `7` or `01-04` are.
fn range(text: &str) -> Option<u32> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok())?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    digits(last)?.checked_sub(digits(first)?)?.checked_add(1)
}

text_value!(Constraint Licenses Nodelist);

/// The nodes that an expression counts; the outer `None` is for what is no expression.
fn nodes_of(text: &str) -> Option<Option<u32>> {
    let mut rest = text;
    let nodes = expression(&mut rest, &[('[', ']'), ('(', ')')])?;
    rest.is_empty().then_some(nodes)
}

/// Reads terms with `&` and `|` between them. Inside of parentheses there are no others, and inside of brackets no brackets.
fn expression(rest: &mut &str, groups: &[(char, char)]) -> Option<Option<u32>> {
    let mut nodes: Option<u32> = None;
    loop {
        let inner = match groups.iter().position(|(open, _)| rest.starts_with(*open)) {
            Some(at) => {
                let (open, close) = groups.get(at)?;
                *rest = rest.strip_prefix(*open)?;
                let inner = expression(rest, groups.get(at + 1..)?)?;
                *rest = rest.strip_prefix(*close)?;
                inner
            }
            None => {
                let end = rest.find(|letter: char| "&|*()[]".contains(letter)).unwrap_or(rest.len());
                let (name, after) = rest.split_at_checked(end)?;
                if !is_plain(name, b"-_.:", 64) || name.starts_with(['-', '.', ':']) {
                    return None;
                }
                *rest = after;
                None
            }
        };
        let counted = match rest.strip_prefix('*') {
            Some(after) => {
                let end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
                let (digits, after) = after.split_at_checked(end)?;
                *rest = after;
                Some(count(digits)?)
            }
            None => inner,
        };
        if let Some(counted) = counted {
            nodes = Some(nodes.unwrap_or(0).saturating_add(counted));
        }
        match rest.strip_prefix(['&', '|']) {
            Some(after) => *rest = after,
            None => return Some(nodes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_counted_and_compared_by_name() {
        let licenses = |text: &str| text.parse::<Licenses>().unwrap();
        assert_eq!(licenses("ansys:2,x@db").each().collect::<Vec<_>>(), [("ansys", 2), ("x@db", 1)]);
        let limit = licenses("Ansys:4,x@db:1");
        assert_eq!(licenses("ansys:2,x@db").within(&limit), Some(licenses("Ansys:2,x@db:1")));
        for beyond in ["ansys:5", "ansys:3,ansys:2", "x", "x@other", "x@db:2", "y"] {
            assert_eq!(licenses(beyond).within(&limit), None, "{beyond}");
        }
        for bad in ["", ",", "a,", "a:", "a:0", "a:x", ":1", "a@", "@b", "a@b@c", "-a", "a|b", "a b", "a:1:2", "a=1"] {
            assert!(bad.parse::<Licenses>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nodes_of_a_list_are_counted() {
        for (text, nodes) in
            [("n1", 1), ("n1,n2", 2), ("n[1-4]", 4), ("n[01-04,7],big1", 6), ("r[1-2]n[1-3]-ib", 6), ("a-1.b_c", 1)]
        {
            assert_eq!(text.parse::<Nodelist>().unwrap().nodes(), nodes, "{text}");
        }
        for bad in [
            "",
            ",",
            "n1,",
            ",n1",
            "-n1",
            "n1,-n2",
            "n1,--uid=0",
            "/etc/passwd",
            "./x",
            "n[",
            "n]",
            "n[]",
            "n[a]",
            "n[2-1]",
            "n[1-]",
            "n[-1]",
            "[1-2]",
            "n[[1]]",
            "n 1",
            "n1;n2",
            "n*",
            "^n1",
            "n[1-99999999999]",
            "n\n1",
        ] {
            assert!(bad.parse::<Nodelist>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_constraint_is_a_whole_expression_and_its_nodes_are_counted() {
        for (text, nodes) in [
            ("a100", None),
            ("gpu:a100&ib-edr|x.y_z", None),
            ("[rack1|rack2|rack3]", None),
            ("intel&[rack1*2&rack2*4]", Some(6)),
            ("(knl&a2a)|haswell", None),
            ("[(knl&snc4&flat)*4&haswell*1]", Some(5)),
            ("graphics*4", Some(4)),
            ("a*4000000000&b*4000000000", Some(u32::MAX)),
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap().nodes(), nodes, "{text}");
        }
        for bad in [
            "",
            "&",
            "a&",
            "|a",
            "a&&b",
            "a||b",
            "a b",
            "a,b",
            "-a",
            "--uid=0",
            "a&-b",
            "!a",
            "a*",
            "a*0",
            "a*x",
            "a*-1",
            "(a",
            "a)",
            "[a",
            "a]",
            "[]",
            "()",
            "[a)",
            "[[a]]",
            "((a))",
            "([a])",
            "[a]b",
            "a[b]",
            "a=b",
            "a\nb",
            "$(id)",
            "a;b",
            "a|`id`",
            "\u{e4}",
            &"x".repeat(65),
            &"x&".repeat(200),
        ] {
            assert!(bad.parse::<Constraint>().is_err(), "{bad:?}");
        }
    }
}
