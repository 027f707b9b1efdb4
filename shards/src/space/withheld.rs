//! What is forgotten by a record that is durable, while it is not known yet which rows that are: recalls compare ids.

use std::collections::BTreeMap;

use crate::ids::Generation;

/// Memories that are withheld from recalls, by their hashes. Mostly there is none.
#[derive(Debug, Default)]
pub struct Withheld {
    by_hash: BTreeMap<u64, Vec<Memory>>,
}

/// All observations of an id up to a generation.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    id: Box<str>,
    until: Generation,
}

impl Withheld {
    /// Withholds what there is of a memory up to a generation.
    pub fn add(&mut self, hash: u64, id: &str, until: Generation) {
        self.by_hash.entry(hash).or_default().push(Memory { id: id.into(), until });
    }

    /// It need not be withheld any more. What is withheld twice is so until that was said twice.
    pub fn remove(&mut self, hash: u64, id: &str, until: Generation) {
        let memories = self.by_hash.get_mut(&hash).expect("what is withheld has a hash");
        let is_it = |memory: &Memory| *memory.id == *id && memory.until == until;
        let place = memories.iter().position(is_it).expect("it was withheld");
        memories.swap_remove(place);
        if memories.is_empty() {
            self.by_hash.remove(&hash);
        }
    }

    /// Whether nothing is withheld.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The ids under which an observation of this hash and generation is withheld.
    pub fn ids(&self, hash: u64, generation: Generation) -> Vec<Box<str>> {
        let memories = self.by_hash.get(&hash).map_or(&[][..], Vec::as_slice);
        let withheld = memories.iter().filter(|memory| generation <= memory.until);
        withheld.map(|memory| memory.id.clone()).collect()
    }
}
