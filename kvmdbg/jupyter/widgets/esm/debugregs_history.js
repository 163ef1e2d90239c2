/**
 * The debug registers over time as numbers to draw: lanes, and the moments worth going to. Pure.
 * Must not know: the page, or how a lane is drawn.
 */

/** @typedef {{clock: number, end: number, says: string[]}} DrEvent */
/**
 * A lane in parts of the whole width, 0 to 1.
 * @typedef {object} DrLane
 * @property {string} name
 * @property {[number, number][]} armed from, to
 * @property {[number, number, number][]} hits from, to, height 0 to 1
 * @property {{at: number, side: string}[]} changes
 * @property {number} total hits
 * @property {string} words
 */

const DR_LEAST = 15; // clocks, so that a guest that has just begun stands at the left

export const DR_LANES = ["DR0", "DR1", "DR2", "DR3", "DR6", "DR7"];
const DR_CAUSES = /** @type {Record<string, string>} */ ({
  B0: "DR0 hit",
  B1: "DR1 hit",
  B2: "DR2 hit",
  B3: "DR3 hit",
  BD: "MOV DR met general detect",
  BS: "single step",
  BT: "task switch",
});

/**
 * How far the lanes reach: everything that happened, the present, and the recording's end.
 * @param {any} history
 * @param {number} end of the recording, -1 if there is none
 */
export function drExtent(history, end) {
  const bins = Object.values(history.causes).flatMap((/** @type {any} */ pairs) => pairs.map((/** @type {any} */ pair) => pair[0] + 1));
  const last = Math.max(0, ...bins) * history.width;
  return Math.max(DR_LEAST, history.here, history.by === "clock" ? end : last);
}

/**
 * @param {any} history
 * @param {number} extent
 * @returns {DrLane[]}
 */
export function drLanes(history, extent) {
  return DR_LANES.map((name) => {
    const pairs = drPairs(name, history);
    const total = pairs.reduce((sum, [, count]) => sum + count, 0);
    const most = Math.max(1, ...pairs.map(([, count]) => count));
    const slot = DR_LANES.indexOf(name);
    const armed = slot < 4 ? history.armed[slot] : [];
    const edge = (/** @type {number} */ clock) => Math.min(1, clock / (extent + 1));
    return {
      name,
      armed: armed.map((/** @type {number[]} */ [a, b]) => drBand(a, b, history, edge)),
      hits: pairs.map(([bin, count]) => [
        edge(bin * history.width),
        edge((bin + 1) * history.width),
        (1 + Math.log(count)) / (1 + Math.log(most)),
      ]),
      changes: history.changes
        .filter((/** @type {any} */ change) => change.name === name)
        .map((/** @type {any} */ change) => ({ at: drPart(change.clock, extent), side: change.side })),
      total,
      words: drLaneWords(name, total, armed.length, history),
    };
  });
}

/**
 * Where a moment lies in a lane's width: each clock has a place of its own, and it is in its middle.
 * @param {number} clock
 * @param {number} extent
 */
export function drPart(clock, extent) {
  return Math.min(1, Math.max(0, (clock + 0.5) / (extent + 1)));
}

/**
 * A run of bins; where the present lies in its last bin or behind, the slot is armed until then.
 * @param {number} first
 * @param {number} last
 * @param {any} history
 * @param {(clock: number) => number} edge
 * @returns {[number, number]}
 */
function drBand(first, last, history, edge) {
  return [edge(first * history.width), edge(Math.min((last + 1) * history.width, history.here + 1))];
}

/**
 * What a lane counts: a slot's hits, or for DR6 every cause that is no slot's.
 * @param {string} name
 * @param {any} history
 * @returns {[number, number][]}
 */
function drPairs(name, history) {
  const causes = name === "DR6" ? ["BS", "BD", "BT"] : name === "DR7" ? [] : [`B${name[2]}`];
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const cause of causes)
    for (const [bin, count] of history.causes[cause] ?? []) counts.set(bin, (counts.get(bin) ?? 0) + count);
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/**
 * @param {string} name
 * @param {number} total
 * @param {number} armed
 * @param {any} history
 */
function drLaneWords(name, total, armed, history) {
  const changes = history.changes.filter((/** @type {any} */ change) => change.name === name).length;
  const changed = changes ? `${changes} change${changes > 1 ? "s" : ""}` : "";
  const parts = name === "DR6" ? [total && `${total.toLocaleString("en")} other`] : name === "DR7" ? [] : [armed ? "" : "never armed", total ? `hit ${drTimes(total)}` : armed && "no hit"];
  return [...parts, changed].filter(Boolean).join(", ") || "no change seen";
}

/** @param {number} count */
export function drTimes(count) {
  return count === 1 ? "once" : `${count.toLocaleString("en")} times`;
}

/**
 * The moments worth going to, in their order: hits, general detect, task switches, changed values.
 * @param {any} history
 * @returns {DrEvent[]}
 */
export function drEvents(history) {
  /** @type {Map<number, DrEvent>} */
  const events = new Map();
  const say = (/** @type {number} */ clock, /** @type {number} */ end, /** @type {string} */ words) => {
    const event = events.get(clock) ?? { clock, end, says: [] };
    event.end = Math.max(event.end, end);
    event.says.push(words);
    events.set(clock, event);
  };
  for (const change of history.changes) say(change.clock, change.clock, drChangeWords(change));
  for (const [cause, pairs] of Object.entries(history.causes))
    if (cause !== "BS")
      for (const [bin, count] of /** @type {any} */ (pairs))
        say(bin * history.width, (bin + 1) * history.width - 1, count === 1 ? DR_CAUSES[cause] : `${DR_CAUSES[cause]} ${drTimes(count)}`);
  return [...events.values()].sort((a, b) => a.clock - b.clock);
}

/** @param {any} change */
function drChangeWords(change) {
  const value = change.value && !change.words.startsWith("0x") ? `${change.value} (${change.words})` : change.value || change.words;
  return `${change.side}'s ${change.name}: ${value}`;
}

/**
 * @param {DrEvent} event
 * @param {string} by `clock` or `exit`
 */
export function drEventWhen(event, by) {
  const end = event.end > event.clock ? `-${event.end.toLocaleString("en")}` : "";
  return `${by} ${event.clock.toLocaleString("en")}${end}`;
}

/**
 * The event before or behind a clock; null if there is none.
 * @param {DrEvent[]} events
 * @param {number} clock
 * @param {1 | -1} way
 */
export function drNextEvent(events, clock, way) {
  const left = way > 0 ? events.filter((event) => event.clock > clock) : events.filter((event) => event.clock < clock).reverse();
  return left[0] ?? null;
}
