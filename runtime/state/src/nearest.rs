//! Sorts names by how near they are to one that was mistyped.

/// The nearest first; equally near ones by name.
pub(crate) fn sort(names: &mut [String], wanted: &str) {
    names.sort_by_cached_key(|name| (strsim::damerau_levenshtein(name, wanted), name.clone()));
}
