//! The index of one stripe: HNSW over the rows of the arena, and an exact scan of those not in it.
//!
//! ```text
//!  push ─► rows (codes) ─────────────────────────► scan ─► found
//!            │                                      ▲
//!  insert ───┴► descend ► search ► select ► link    │ the tail: rows not yet in the graph
//!               (links)  (beam,    (who)   (both    │
//!                         visited)          ways)   │
//!  recall ────► descend ► search ─────────────────► found
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `rank` | similarity and row as one number with one total order |
//! | `links` | the layers: fixed slots of links, with their similarities |
//! | `visited` | which nodes a search has met, and how similar they were |
//! | `beam` | the best of a search, and which of them are still to be expanded |
//! | `search` | from an entry to the nearest |
//! | `notes` | how similar the candidates for a row's links are |
//! | `rescore` | what 1-bit codes have found, compared by int8 codes |
//! | `select` | whom of the nearest a new row links to |
//! | `link` | the links of a new row, and those back to it |
//! | `adopt` | a row taken out of the tree of parents: others adopt its children; a row put into it again |
//! | `scan` | rows one by one |
//! | `filter` | whether the graph leads to few visible rows, or they are scanned |
//! | `states` | which rows are alive, and how far the others have left the graph |
//! | `slots` | which rows wait for the graph, and whose slots may be used again |
//! | `check` | every invariant, verified |
//! | `index` | these put together |
//! | `waiting` | rows that arrive and are outside the graph |
//! | `refine` | a row linked anew, with more effort than its insertion had |
//! | `mend` | removed rows leave the graph: others are linked around them |
//! | `trial` | a row as a query that the graph has never seen |
//! | `stored` | what checkpoints keep of rows and graph |
//! | `seek` | a search in steps, between which rows may come |
//!
//! Invariants (`Index::check` verifies them):
//! - A node of an upper layer is a node of the layer below; the entry is node 0 of the topmost
//!   layer.
//! - Links lead to other nodes of their layer, none twice, and carry the similarity of their two
//!   rows.
//! - Each node but node 0 has one *parent*, a node of a lower number: the links between the two are kept,
//!   both ways, whatever is pruned later. So a layer is connected both ways at any time, also
//!   among near-duplicates.
//! - No link leads to a removed row that is gone; all others but those that are about to leave are
//!   reached without passing through it.
//! - Equal calls on equal seeds build equal graphs on every processor.

mod rank;
mod links;
mod visited;
mod beam;
mod search;
mod notes;
mod rescore;
mod select;
mod link;
mod adopt;
mod scan;
mod filter;
mod states;
mod slots;
mod check;
mod index;
mod waiting;
mod refine;
mod mend;
mod trial;
mod seek;
mod stored;

pub use index::{Index, Scratch, Sought};
pub use rank::Scored;
pub use seek::{Aim, Seeking};
pub use stored::{Fate, IndexShape, Loading};
