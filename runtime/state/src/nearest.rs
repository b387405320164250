//! Names that are near to one that was mistyped.

/// So many are told; the others are only counted.
const TOLD: usize = 10;

/// The nearest first; equally near ones by name.
pub(crate) fn sort(names: &mut [String], wanted: &str) {
    names.sort_by_cached_key(|name| (strsim::damerau_levenshtein(name, wanted), name.clone()));
}

/// The first of the names, as a sentence goes on.
pub(crate) fn listed(names: &[String]) -> String {
    let told = names[..names.len().min(TOLD)].join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_told_and_the_rest_is_counted() {
        let mut names: Vec<String> = (10..30).map(|n| format!("shop{n}")).collect();
        sort(&mut names, "shop29");
        let text = listed(&names);
        assert!(
            text.starts_with("shop29, ") && text.ends_with(" and 10 more"),
            "{text}"
        );
        assert_eq!(listed(&["a".into(), "b".into()]), "a, b");
    }
}
