//! The hash of all that happened, and the story told where someone wants to read it.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use engram_shards::ids::Time;

/// What is done with the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// Only hashed.
    Hashed,
    /// Printed too.
    Printed,
}

/// The story so far.
#[derive(Debug)]
pub struct Trace {
    hash: SipHasher13,
    story: Story,
}

impl Trace {
    /// An empty story.
    pub fn new(story: Story) -> Trace {
        Trace { hash: SipHasher13::new(), story }
    }

    /// Something happened.
    pub fn note(&mut self, now: Time, what: fmt::Arguments<'_>) {
        self.hash.write_u64(now.0);
        fmt::Write::write_fmt(&mut Hashing(&mut self.hash), what).expect("a hash takes all");
        if self.story == Story::Printed {
            println!("{:>12} {what}", now.0);
        }
    }

    /// The hash of all that was noted.
    pub fn hash(&self) -> u64 {
        self.hash.finish()
    }
}

struct Hashing<'a>(&'a mut SipHasher13);

impl fmt::Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
