//! Text from workers and daemons on its way to a terminal, which it must not
//! drive: the writers of `voice`, `report` and `commands::table` pass
//! everything through here. Data that `read` writes is not text for people.

/// `text` with newlines and tabs, each other character that a terminal obeys
/// replaced: controls of C0 and C1, line separators, and what reorders the
/// line (Unicode UAX 9, "Trojan Source").
pub(crate) fn lines(text: &str) -> String {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if obeyed(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// `lines` for what is one field of a line: it must not begin another line.
pub(crate) fn word(text: &str) -> String {
    lines(text).replace('\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_replaced_and_words_of_any_script_are_kept() {
        let hostile = "a\u{1b}]0;title\u{7}\r\n\u{9b}2J\u{202e}\u{2066}\u{200f}\u{2028}b\tç日本";
        assert_eq!(
            lines(hostile),
            "a\u{fffd}]0;title\u{fffd}\u{fffd}\n\u{fffd}2J\u{fffd}\u{fffd}\u{fffd}\u{fffd}b\tç日本"
        );
        assert_eq!(word("a\nerror: b"), "a\u{fffd}error: b");
    }
}
