/**
 * The debug registers over time, drawn as six lanes; arrow keys go from event to event, Enter or a
 * click travels there. Must not know: what an event is (debugregs_history.js).
 */
import { h, put } from "./dom.js";
import { DR_LANES, drEvents, drEventWhen, drExtent, drLanes, drNextEvent, drPart } from "./debugregs_history.js";

const DR_SVG = "http://www.w3.org/2000/svg";
const DR_WIDE = 1000; // a lane's width in its own units
const DR_HIGH = 24;
const DR_TICK = 8; // the widest mark of a hit
const DR_NEAR = 0.012; // a click so near to an event means the event

/**
 * @param {string} name
 * @param {Record<string, string>} attributes
 * @param {...Element} children
 */
function drShape(name, attributes, ...children) {
  const element = document.createElementNS(DR_SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * Rectangles as one path.
 * @param {[number, number, number][]} boxes from and to in parts of the width, height 0 to 1
 * @param {number} bottom
 * @param {number} high height of 1
 * @param {number} most no wider than that
 */
export function drBoxes(boxes, bottom, high, most = DR_WIDE) {
  return boxes
    .map(([from, to, height]) => {
      const width = Math.max(Math.min((to - from) * DR_WIDE, most), 3);
      const x = Math.min(((from + to) * DR_WIDE - width) / 2, DR_WIDE - width);
      const tall = Math.max(height * high, 2);
      return `M${x.toFixed(1)} ${(bottom - tall).toFixed(1)}h${width.toFixed(1)}v${tall.toFixed(1)}h${(-width).toFixed(1)}z`;
    })
    .join("");
}

/**
 * The host's changes point down from the top, the guest's up from below.
 * @param {{at: number, side: string}[]} changes
 */
export function drPointers(changes) {
  return changes
    .map(({ at, side }) => {
      const x = Math.min(Math.max(at * DR_WIDE, 5), DR_WIDE - 5);
      return side === "host" ? `M${(x - 5).toFixed(1)} 0h10l-5 9z` : `M${(x - 5).toFixed(1)} ${DR_HIGH}h10l-5 -9z`;
    })
    .join("");
}

/**
 * @param {string} name
 * @param {number} n its row
 */
function drLaneRow(name, n) {
  const style = `grid-row: ${n + 1}`;
  const armed = drShape("path", { class: "kvmdbg-dr-armed" });
  const hits = drShape("path", { class: "kvmdbg-dr-hits" });
  const changes = drShape("path", { class: "kvmdbg-dr-changes" });
  const picture = drShape(
    "svg",
    { viewBox: `0 0 ${DR_WIDE} ${DR_HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "kvmdbg-dr-lane", style },
    armed,
    hits,
    changes,
  );
  const words = h("span", { class: "kvmdbg-dr-dim kvmdbg-dr-lanewords", style });
  return {
    elements: [h("strong", { style }, name), /** @type {any} */ (picture), words],
    /** @param {import("./debugregs_history.js").DrLane} lane */
    show(lane) {
      armed.setAttribute("d", drBoxes(lane.armed.map(([a, b]) => [a, b, 1]), DR_HIGH - 1, 4));
      hits.setAttribute("d", drBoxes(lane.hits, DR_HIGH - 6, DR_HIGH - 8, DR_TICK));
      changes.setAttribute("d", drPointers(lane.changes));
      put(words, lane.words);
    },
  };
}

/**
 * @param {(clock: number) => void} travel
 */
export function drTimeline(travel) {
  const rows = DR_LANES.map(drLaneRow);
  const here = h("div", { class: "kvmdbg-dr-here" });
  const cursor = h("div", { class: "kvmdbg-dr-cursor" });
  const over = h("div", { class: "kvmdbg-dr-over", "aria-hidden": "true" }, here, cursor);
  const slider = h(
    "div",
    { class: "kvmdbg-dr-lanes", role: "slider", tabindex: "0", "aria-label": "Debug registers over time", "aria-valuemin": "0" },
    ...rows.flatMap((row) => row.elements),
    over,
  );
  const detail = h("p", { class: "kvmdbg-dr-detail" });
  const legend = h("p", { class: "kvmdbg-dr-dim" });
  const element = h("div", {}, slider, detail, legend);
  let history = /** @type {any} */ (null);
  let events = /** @type {import("./debugregs_history.js").DrEvent[]} */ ([]);
  let extent = 1;
  let at = -1; // the clock under the cursor; -1: the present
  const tell = () => {
    const clock = at < 0 ? history.here : at;
    const event = events.find((one) => one.clock <= clock && clock <= one.end);
    const when = event ? drEventWhen(event, history.by) : `${history.by} ${clock.toLocaleString("en")}`;
    const what = event ? event.says.join("; ") : at < 0 ? "now" : "nothing seen";
    const go = history.by === "clock" && at >= 0 && at !== history.here ? ". Enter or a click travels there" : "";
    cursor.style.left = `${drPart(clock, extent) * 100}%`;
    cursor.hidden = at < 0;
    slider.setAttribute("aria-valuenow", String(clock));
    slider.setAttribute("aria-valuetext", `${when}: ${what}${go}`);
    put(detail, `${when}: ${what}${go}.`);
  };
  const goTo = (/** @type {number} */ clock) => {
    at = clock;
    tell();
  };
  slider.addEventListener("keydown", (pressed) => {
    const from = at < 0 ? history.here : at;
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[pressed.key];
    const end = pressed.key === "Home" ? events[0] : pressed.key === "End" ? events.at(-1) : null;
    const next = way ? drNextEvent(events, from, /** @type {1 | -1} */ (way)) : end;
    if (pressed.key === "Enter" && at >= 0) travel(at);
    else if (pressed.key === "Escape") goTo(-1);
    else if (next) goTo(next.clock);
    else if (!way) return;
    pressed.preventDefault();
  });
  const under = (/** @type {MouseEvent} */ event) => {
    const box = over.getBoundingClientRect();
    const part = box.width ? (event.clientX - box.left) / box.width : -1;
    return part < 0 || part > 1 ? null : drSnap(part, events, extent);
  };
  slider.addEventListener("pointermove", (event) => {
    const clock = under(event);
    if (clock !== null && clock !== at) goTo(clock);
  });
  slider.addEventListener("pointerleave", () => goTo(-1));
  slider.addEventListener("click", (event) => {
    const clock = under(event);
    if (clock !== null) travel(clock);
  });
  return {
    element,
    /**
     * @param {any} part
     * @param {number} end of the recording
     */
    show(part, end) {
      history = part.history;
      extent = drExtent(history, end);
      events = drEvents(history);
      drLanes(history, extent).forEach((lane, n) => rows[n].show(lane));
      slider.setAttribute("aria-valuemax", String(extent));
      here.style.left = `${drPart(history.here, extent) * 100}%`;
      put(legend, drLegend(history, extent));
      tell();
    },
  };
}

/**
 * The clock at a part of the width: an event's, if one is near.
 * @param {number} part
 * @param {import("./debugregs_history.js").DrEvent[]} events
 * @param {number} extent
 */
export function drSnap(part, events, extent) {
  const near = events
    .map((event) => ({ event, away: Math.abs(drPart(event.clock, extent) - part) }))
    .filter(({ away }) => away <= DR_NEAR)
    .sort((a, b) => a.away - b.away)[0];
  return near ? near.event.clock : Math.min(extent, Math.floor(part * (extent + 1)));
}

/**
 * @param {any} history
 * @param {number} extent
 */
function drLegend(history, extent) {
  const unit = history.by === "clock" ? "instructions" : "exits";
  const width = history.width > 1 ? `, ${history.width.toLocaleString("en")} to a mark` : "";
  return `0 to ${extent.toLocaleString("en")} ${unit}${width}. Low bar: armed; ticks: hits (DR6: steps and other causes); ▼ the host's value changed, ▲ the guest's, as seen at stops; upright line: now.`;
}
