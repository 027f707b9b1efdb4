//! Which stream sends which rows, and what an observation looks like.

use engram::dataset::{DIMENSION, Dataset};
use engram_proto::engram::v1::Episode;

/// One stream's share of the rows: every n-th, so that all streams go through the contents alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    stream: usize,
    streams: usize,
    rows: usize,
}

impl Share {
    /// The share of stream `stream` of `streams` in `rows` rows.
    pub(crate) fn new(stream: usize, streams: usize, rows: usize) -> Share {
        assert!(stream < streams, "stream {stream} of {streams}");
        Share { stream, streams, rows }
    }

    /// How many rows it has.
    pub(crate) fn count(&self) -> u64 {
        (self.rows + self.streams - 1 - self.stream).div_euclid(self.streams) as u64
    }

    /// The row that goes with a sequence, from 1.
    pub(crate) fn row_of(&self, sequence: u64) -> usize {
        assert!((1..=self.count()).contains(&sequence), "sequence {sequence} of {}", self.count());
        self.stream + (sequence as usize - 1) * self.streams
    }
}

/// The memory id of a row.
pub(crate) fn id_of(row: usize) -> String {
    format!("row-{row}")
}

/// The observation that shows a row.
pub(crate) fn episode_of(data: &Dataset, row: usize) -> Episode {
    let mut vector = [0.0; DIMENSION];
    data.base(row, &mut vector);
    Episode {
        id: id_of(row),
        what: data.base_text(row),
        embedding: vector.to_vec(),
        ..Episode::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_row_once() {
        for (rows, streams) in [(10, 3), (9, 3), (3, 3), (1, 1), (7, 4)] {
            let mut all: Vec<usize> = (0..streams)
                .map(|stream| Share::new(stream, streams, rows))
                .flat_map(|share| (1..=share.count()).map(move |sequence| share.row_of(sequence)))
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..rows).collect::<Vec<_>>(), "{rows} rows on {streams} streams");
        }
    }
}
