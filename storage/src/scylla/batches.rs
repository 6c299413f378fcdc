//! Cutting writes into batches. Servers warn of batches over 5 KiB and refuse those over 50.

/// Estimated bytes in one batch.
const BYTES_MAX: usize = 4096;

/// What a statement weighs besides its texts: numbers, times, lengths.
const OVERHEAD: usize = 64;

/// What a statement with these texts weighs.
pub(super) fn weight(texts: &[&str]) -> usize {
    OVERHEAD + texts.iter().map(|text| text.len()).sum::<usize>()
}

/// Cuts items into runs, in order, none of which weighs too much. An item that does so alone is a run of its own.
pub(super) fn pieces<T>(items: impl IntoIterator<Item = T>, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut pieces: Vec<Vec<T>> = Vec::new();
    let mut bytes = BYTES_MAX;
    for item in items {
        let added = weight(&item);
        match pieces.last_mut() {
            Some(piece) if bytes + added <= BYTES_MAX => piece.push(item),
            _ => {
                pieces.push(vec![item]);
                bytes = 0;
            }
        }
        bytes += added;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_the_order_and_the_limit() {
        let weights = [3000, 1000, 96, 1, 5000, 4096, 4095, 1, 1];
        let pieces = pieces(weights, |weight| *weight);
        assert_eq!(pieces, [vec![3000, 1000, 96], vec![1], vec![5000], vec![4096], vec![4095, 1], vec![1]]);
        assert_eq!(super::pieces([], |weight: &usize| *weight), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn ten_members_with_the_longest_ids_fit() {
        let id = "x".repeat(128);
        assert!(weight(&[&id, &id]) * 10 <= BYTES_MAX);
    }
}
