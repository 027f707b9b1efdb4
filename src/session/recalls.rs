//! The recalls of one session: asked for, answered, and on their way to the client.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::event::{Event, RecallHead};
use super::flow::{Flow, Leave};
use crate::failure::Failure;
use crate::recall::{Asked, Pages};

/// One of them.
#[derive(Debug)]
struct UnderWay {
    head: RecallHead,
    page_results: u32,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The stripes have not all answered.
    Asked(Asked),
    /// The client has not got all of it.
    Telling(Pages),
    /// There is nothing but this to tell.
    Failed(Failure),
}

/// What can be told of them.
#[derive(Debug)]
pub(super) enum News {
    /// This; and perhaps more.
    Told(Event),
    /// Nothing before so many microseconds have passed.
    After(u64),
    /// Nothing before a stripe answers or the client says so.
    Nothing,
}

/// All of one session, each in its turn.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    under_way: VecDeque<UnderWay>,
}

impl Recalls {
    /// Takes one in: what the stripes were asked, or why they could not be.
    pub(super) fn begin(
        &mut self,
        head: RecallHead,
        page_results: u32,
        asked: Result<Asked, Failure>,
    ) {
        let stage = asked.map_or_else(Stage::Failed, Stage::Asked);
        self.under_way.push_back(UnderWay { head, page_results, stage });
    }

    /// How many the client has not got all of.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether the client has got all it asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// What can be told next, as far as `leave` lets it. Pages of several recalls come in turn.
    pub(super) fn next(&mut self, cx: &mut Context<'_>, flow: &mut Flow, leave: Leave) -> News {
        self.under_way.iter_mut().for_each(|recall| recall.advance(cx));
        let tellable = |recall: &UnderWay| match &recall.stage {
            Stage::Asked(_) => false,
            Stage::Failed(_) => true,
            // That all is told is no result; but a client that has paused wants none of it.
            Stage::Telling(pages) => match leave {
                Leave::Now(_) => true,
                Leave::After(_) => !pages.has_more(),
                Leave::Withheld => !pages.has_more() && !flow.is_paused(),
            },
        };
        let Some(at) = self.under_way.iter().position(tellable) else {
            let waits = self.under_way.iter().any(|one| matches!(one.stage, Stage::Telling(_)));
            return match leave {
                Leave::After(micros) if waits => News::After(micros),
                _ => News::Nothing,
            };
        };
        let recall = self.under_way.remove(at).expect("it was just found");
        News::Told(self.tell(recall, flow, leave))
    }

    fn tell(&mut self, mut recall: UnderWay, flow: &mut Flow, leave: Leave) -> Event {
        let pages = match &mut recall.stage {
            Stage::Asked(_) => unreachable!("there is nothing to tell before the stripes answer"),
            Stage::Failed(failure) => {
                return Event::RecallFailed {
                    request_id: recall.head.request_id,
                    failure: failure.clone(),
                };
            }
            Stage::Telling(pages) => pages,
        };
        let summary = pages.summary();
        let page = match leave {
            Leave::Now(results) => pages.next_page(results),
            Leave::After(_) | Leave::Withheld => None,
        };
        match page {
            None => Event::Recalled { head: recall.head, summary },
            Some(page) => {
                flow.spend(page.found.len());
                let head = recall.head.clone();
                self.under_way.push_back(recall);
                Event::Page { head, page, summary }
            }
        }
    }
}

impl UnderWay {
    fn advance(&mut self, cx: &mut Context<'_>) {
        if let Stage::Asked(asked) = &mut self.stage
            && let Poll::Ready(answer) = asked.poll_answer(cx)
        {
            self.stage = match answer {
                Ok(recollection) => Stage::Telling(Pages::new(recollection, self.page_results)),
                Err(failure) => Stage::Failed(failure),
            };
        }
    }
}
