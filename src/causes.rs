//! An error with its causes, as one sentence for people.

/// The error and its causes, without those that the one before has told already.
pub(crate) fn told(error: &anyhow::Error) -> String {
    let mut told = String::new();
    let mut last = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told.push_str(&cause);
        } else if !last.contains(&cause) {
            told.push_str(": ");
            told.push_str(&cause);
        }
        last = cause;
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("refused");
        assert_eq!(told(&error), "refused");
        let error = error.context("no connection: refused").context("unavailable");
        assert_eq!(told(&error), "unavailable: no connection: refused");
    }
}
