//! Text that strangers choose and people read: names of jobs, workflows and branches.
//!
//! Anyone who can push to a repository chooses them. They are escaped where they are shown; here they lose what could
//! still trick a reader: control characters, which control a terminal, and characters that change the direction of
//! writing, which make a name look like another one. And they are cut, because they are in every record of a job.

use serde::{Deserialize, Deserializer, Serialize};

/// How many characters are kept.
const MAX_CHARS: usize = 100;

/// A name that a stranger chose, safe to store and to show; empty if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Text(String);

impl Text {
    /// Keeps what is harmless.
    pub fn of(text: &str) -> Self {
        Self(clean(text, MAX_CHARS))
    }

    /// The text, if there is any.
    pub fn some(&self) -> Option<&str> {
        Some(&*self.0).filter(|text| !text.is_empty())
    }
}

/// At most so many characters of a text from outside, without those that steer a terminal or turn the writing.
pub fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !misleads(*c)).take(most).collect::<String>().trim().to_owned()
}

/// Control characters, line and paragraph separators, and those of Unicode's bidirectional algorithm.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(|text| Self::of(&text)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_control_a_terminal_or_turn_the_writing_and_is_short() {
        for (text, kept) in [
            ("build (ubuntu, 3.12)", "build (ubuntu, 3.12)"),
            ("größe 規模 🦀", "größe 規模 🦀"),
            ("<script>\"'&", "<script>\"'&"),
            ("a\u{1b}[31mb\r\nc\0", "a[31mbc"),
            ("safe\u{202e}gpj.exe\u{2066}x\u{200f}", "safegpj.exex"),
            (" \t ", ""),
        ] {
            assert_eq!(Text::of(text), Text(kept.to_owned()), "{text:?}");
        }
        assert_eq!(Text::of(&"é".repeat(1000)).some().unwrap().chars().count(), MAX_CHARS);
    }

    #[test]
    fn an_absent_name_is_empty_and_a_stored_one_is_read_again() {
        let read = |json: &str| serde_json::from_str::<Text>(json);
        assert_eq!(read("null").unwrap().some(), None);
        assert_eq!(read("\"\\u202e\"").unwrap().some(), None);
        let text = Text::of("deploy");
        assert_eq!(read(&serde_json::to_string(&text).unwrap()).unwrap(), text);
        assert!(read("[1]").is_err());
    }
}
