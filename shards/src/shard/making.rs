//! Spaces that are being made, and who waits for them.

use crate::message::{IfExists, Made, Origin, Refusal, SpaceDescription};
use crate::settings::SpaceSettings;

/// A space whose record is on its way to the log.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) space: SpaceDescription,
    /// One for each stripe that is being made here.
    pub(super) records_left: usize,
    pub(super) waiting: Vec<Creation>,
    /// What the next one of those who wait is told.
    pub(super) made: Made,
    pub(super) fault: Option<Refusal>,
}

/// A request to make a space.
#[derive(Debug)]
pub(super) struct Creation {
    pub(super) origin: Origin,
    pub(super) settings: SpaceSettings,
    pub(super) if_exists: IfExists,
}

impl Creation {
    /// Whether `existing` will do.
    pub(super) fn accept(&self, existing: &SpaceDescription) -> Result<(), Refusal> {
        if self.settings.name != existing.settings.name {
            return Err(Refusal::KeyTaken);
        }
        match self.if_exists {
            IfExists::MustBeSame if self.settings != existing.settings => {
                Err(Refusal::SpaceDiffers(existing.clone()))
            }
            IfExists::MustBeSame | IfExists::Take => Ok(()),
        }
    }
}
