//! What was asked of late.

use crate::limits::CUES_KEPT_MAX;
use crate::vector::codes::Codes;

/// The last cues of a stripe, in a ring. They are the best samples there are: what users ask is not
/// always like what they store.
#[derive(Debug, Default)]
pub(super) struct Cues {
    ring: Vec<Codes>,
    /// All that were ever noted.
    noted: u64,
}

impl Cues {
    /// Notes one, in the place of the oldest if there are enough. One that is kept already says
    /// nothing new.
    pub(super) fn note(&mut self, codes: &Codes) {
        if self.ring.contains(codes) {
            return;
        }
        let place = (self.noted % CUES_KEPT_MAX as u64) as usize;
        match self.ring.get_mut(place) {
            Some(kept) => kept.clone_from(codes),
            None => self.ring.push(codes.clone()),
        }
        self.noted += 1;
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// The one at this place.
    pub(super) fn get(&self, place: usize) -> &Codes {
        &self.ring[place]
    }

    /// How many were ever noted.
    pub(super) fn noted(&self) -> u64 {
        self.noted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_each_once() {
        let mut cues = Cues::default();
        let codes = |number: usize| Codes {
            dimension: 8,
            codes8: vec![number as i8; 8].into(),
            scale: number as f32,
        };
        for number in 0..CUES_KEPT_MAX + 3 {
            (0..2).for_each(|_| cues.note(&codes(number)));
        }
        assert_eq!((cues.len(), cues.noted()), (CUES_KEPT_MAX, CUES_KEPT_MAX as u64 + 3));
        assert_eq!((cues.get(0), cues.get(3)), (&codes(CUES_KEPT_MAX), &codes(3)));
    }
}
