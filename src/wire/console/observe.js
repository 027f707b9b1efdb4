// The page: what is typed becomes observations and recalls of one session.

import { open } from './client/index.js';
import { embedding } from './embedding.js';

/** What a space that is not there yet will have. */
const DIMENSION_DEFAULT = 768;
/** How long the numbers shown may be behind. */
const SHOWN_EVERY_MS = 100;
/** Times of so many acks are summed up. */
const ACKS_SUMMED = 1000;
const LOG_ENTRIES = 50;

const element = (id) => document.getElementById(id);
const whole = (id) => Number(element(id).value);

let session;
let dimension = DIMENSION_DEFAULT;
let observed = 0;
let refused = 0;
let reconnects = 0;
let ackTimes = [];
let showing = false;

function log(text) {
  const entry = document.createElement('li');
  entry.textContent = `${new Date().toLocaleTimeString()}  ${text}`;
  element('log').prepend(entry);
  element('log').children[LOG_ENTRIES]?.remove();
}

function tell(id, text) {
  element(id).textContent = text;
}

/** Shows the numbers, now and then. */
function show() {
  if (showing) return;
  showing = true;
  setTimeout(() => {
    showing = false;
    tell('observed', observed);
    tell('acked', session.acked);
    tell('pending', session.pending);
    tell('refused', refused);
    tell('reconnects', reconnects);
    const sorted = ackTimes.toSorted((a, b) => a - b);
    const share = (part) => sorted[Math.floor((sorted.length - 1) * part)];
    tell('median', sorted.length ? `${share(0.5).toFixed(1)} ms` : '–');
    tell('slowest', sorted.length ? `${share(0.99).toFixed(1)} ms` : '–');
  }, SHOWN_EVERY_MS);
}

async function dimensionOf(space) {
  const answer = await fetch('/api/v1/spaces');
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const { spaces } = await answer.json();
  return spaces.find(({ id }) => id === space)?.dimension ?? DIMENSION_DEFAULT;
}

function handleState(state, cause) {
  if (state === 'reconnecting') reconnects += 1;
  log(`${state}${cause ? `: ${cause.message}` : ''}`);
  tell('session', `${session?.id ?? ''} ${state}`);
  element('streaming').disabled = state === 'closed' || state === 'closing';
  element('open').hidden = state !== 'closed';
  if (session !== undefined) show();
}

async function begin() {
  const space = element('space').value;
  const resume = element('resume-id').value.trim();
  dimension = await dimensionOf(space);
  [observed, refused, reconnects, ackTimes] = [0, 0, 0, []];
  session = undefined;
  session = await open(location.origin, {
    ...(resume === '' ? { space } : { space, resume }),
    onStateChange: handleState,
  });
  hold(false);
  handleState(session.state);
}

async function observe(text) {
  const began = performance.now();
  observed += 1;
  try {
    await session.observe({ what: text, embedding: embedding(text, dimension), when: new Date() });
    ackTimes.push(performance.now() - began);
    if (ackTimes.length > ACKS_SUMMED) ackTimes = ackTimes.slice(-ACKS_SUMMED);
  } catch (why) {
    refused += 1;
    log(`not observed: ${why.message}`);
  }
  show();
}

async function stream() {
  const text = element('text').value;
  const count = whole('count');
  for (let n = 1; n <= count; n++) {
    await session.ready;
    observe(text.replaceAll('#', observed + 1));
    show();
  }
}

function hold(paused) {
  if (paused) session.pause();
  else session.resume();
  element('pause').disabled = paused;
  element('resume').disabled = !paused;
  show();
}

async function recall() {
  tell('recalled', '');
  const began = performance.now();
  const cue = embedding(element('cue').value, dimension);
  const { memories, snapshotSequence } = await session.recall(cue, {
    maxResults: whole('results'),
  });
  element('found').replaceChildren(
    ...memories.map(({ activation, content }) => {
      const entry = document.createElement('li');
      const nearness = document.createElement('b');
      nearness.textContent = activation.toFixed(3);
      entry.append(nearness, ' ', content);
      return entry;
    }),
  );
  const took = (performance.now() - began).toFixed(1);
  tell('recalled', `${memories.length} of ${snapshotSequence} durable, in ${took} ms`);
}

/** Does `action` when a form is sent or a button is pressed, and tells why where it cannot. */
function on(id, event, action) {
  element(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    try {
      await action();
    } catch (why) {
      log(`${id}: ${why.message}`);
    }
  });
}

on('open', 'submit', begin);
on('stream', 'submit', stream);
on('recall', 'submit', recall);
on('pause', 'click', () => hold(true));
on('resume', 'click', () => hold(false));
on('close', 'click', async () => log(`closed at ${await session.close()}`));
