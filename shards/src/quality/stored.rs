//! What checkpoints keep of upkeep: the chosen width and what it was seen to hold, when the last round was, and which
//! rows were refined. What rests on the moment goes: cues, a sample under way, rows that it missed, and which rows came
//! into the slots of refined ones (those stay as their insertion linked them).

use crate::bytes::Reader;
use crate::limits::{GRAPH_WIDTH_REFINE, GRAPH_WIDTH_REFINE_DEEP, QUALITY_SAMPLES, RECALL_WIDTHS};

use super::estimate::Held;
use super::refining::Run;
use super::upkeep::{RecallTarget, Upkeep};

impl Upkeep {
    /// Writes what is kept of it.
    pub fn write_state(&self, out: &mut Vec<u8>) {
        let width = self.place.map_or(0, |place| RECALL_WIDTHS[place]);
        let Held { recall, error } = self.held.unwrap_or(Held { recall: -1.0, error: 0.0 });
        let (round, refining) = (&self.round, &self.refining);
        out.extend_from_slice(&width.to_le_bytes());
        out.extend_from_slice(&recall.to_le_bytes());
        out.extend_from_slice(&error.to_le_bytes());
        out.extend_from_slice(&(round.left as u32).to_le_bytes());
        out.extend_from_slice(&round.rows.to_le_bytes());
        out.extend_from_slice(&round.changes.to_le_bytes());
        let again = &refining.again;
        let (width, refined) = (refining.width, refining.refined);
        for number in [width, refined, again.start, again.end, refining.runs.len() as u32] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in refining.runs.iter().flat_map(|run| [run.first, run.among, run.width]) {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads it again, for a graph of `nodes`; `None` where it cannot have been written.
    pub fn read_state(
        target: Option<RecallTarget>,
        nodes: u32,
        bytes: &mut Reader<'_>,
    ) -> Option<Upkeep> {
        let mut upkeep = Upkeep::new(target);
        let (width, recall, error) = (bytes.u32()?, bytes.f32()?, bytes.f32()?);
        // A width that is not chosen from any more is sought anew.
        upkeep.place = RECALL_WIDTHS.iter().position(|known| *known == width);
        upkeep.held = (recall >= 0.0).then_some(Held { recall, error });
        upkeep.round.left = (bytes.u32()? as usize).min(QUALITY_SAMPLES);
        (upkeep.round.rows, upkeep.round.changes) = (bytes.u32()?, bytes.u64()?);
        let refining = &mut upkeep.refining;
        (refining.width, refining.refined) = (bytes.u32()?, bytes.u32()?);
        refining.again = bytes.u32()?..bytes.u32()?;
        for _ in 0..bytes.u32()? {
            refining.runs.push(Run {
                first: bytes.u32()?,
                among: bytes.u32()?,
                width: bytes.u32()?,
            });
        }
        let widths = GRAPH_WIDTH_REFINE..=GRAPH_WIDTH_REFINE_DEEP;
        let is_sound = widths.contains(&refining.width)
            && refining.refined <= nodes
            && refining.again.end <= refining.refined
            && refining.runs.is_sorted_by(|one, other| one.first < other.first)
            && refining.runs.iter().all(|run| run.first <= refining.refined);
        is_sound.then_some(upkeep)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let target = Some(RecallTarget::default());
        let mut upkeep = Upkeep::new(target);
        (upkeep.place, upkeep.held) = (Some(3), Some(Held { recall: 0.96, error: 0.01 }));
        (upkeep.round.left, upkeep.round.rows, upkeep.round.changes) = (7, 900, 1_234);
        upkeep.refining.deepen();
        while upkeep.refining.is_wanted(900) {
            upkeep.refining.next(900);
        }
        let mut bytes = Vec::new();
        upkeep.write_state(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let read = Upkeep::read_state(target, 900, &mut reader).expect("it was written");
        assert!(reader.is_empty());
        assert_eq!((read.width(), read.held), (RECALL_WIDTHS[3], upkeep.held));
        assert_eq!((read.round.left, read.round.rows, read.round.changes), (7, 900, 1_234));
        assert_eq!(read.refining.width, upkeep.refining.width);
        assert!(!read.refining.is_wanted(900) && read.refining.is_wanted(1_800));
        assert!(Upkeep::read_state(target, 899, &mut Reader::new(&bytes)).is_none());
        for cut in 0..bytes.len() {
            assert!(Upkeep::read_state(target, 900, &mut Reader::new(&bytes[..cut])).is_none());
        }
    }
}
