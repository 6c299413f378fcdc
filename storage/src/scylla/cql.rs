//! The texts of `.cql` files, as statements. Not a parser: comments, quotes and semicolons are all it knows.

/// The statements of a file in order, each on one line, without comments and final semicolons.
pub(super) fn statements(file: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut text = String::new();
    let (mut quoted, mut comment) = (false, false);
    let mut chars = file.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' => {
                comment = false;
                text.push(' ');
            }
            _ if comment => {}
            '\'' => {
                quoted = !quoted;
                text.push(char);
            }
            '-' if !quoted && chars.peek() == Some(&'-') => comment = true,
            ';' if !quoted => statements.push(std::mem::take(&mut text)),
            _ => text.push(char),
        }
    }
    statements.push(text);
    let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    statements.into_iter().map(one_line).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_line_ends_go_and_quotes_are_kept() {
        let file = "-- first; not a statement\nSELECT a\n  FROM b; -- it's the end\n\nINSERT INTO c VALUES ('--;');\n";
        assert_eq!(statements(file), ["SELECT a FROM b", "INSERT INTO c VALUES ('--;')"]);
        assert_eq!(statements("SELECT a"), ["SELECT a"]);
        assert_eq!(statements("-- nothing\n"), Vec::<String>::new());
    }
}
