/**
 * What stands around the picture of the exit timeline: the lanes' names, the tables behind it, the
 * selected range, the box beside an exit. Must not know: the kernel, or when something is drawn.
 */
import { h } from "./dom.js";
import { drawMark } from "./timeline_lanes.js";
import { LANE_HEIGHT, sharpPen } from "./timeline_picture.js";
import { counted, grouped, queryFor } from "./timeline_scale.js";

/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./theme.js").Theme} Theme */
/** @typedef {import("./timeline_model.js").TimelineModel} Scene what is seen of the exits */

export const LAST_ROWS = 20;

/**
 * Names and marks of the lanes, each with a box that hides it and room for its count.
 * @param {Scene} scene
 * @param {Theme} theme
 * @param {(name: string, shown: boolean) => void} onShow
 */
export function laneNames(scene, theme, onShow) {
  const rows = scene.lanes.map((name) => {
    const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", { "aria-hidden": "true", class: "kvmdbg-tl-mark" }));
    drawLegendMark(canvas, scene.style(name), theme);
    const box = /** @type {HTMLInputElement} */ (
      h("input", { type: "checkbox", onchange: () => onShow(name, box.checked), checked: !scene.hidden.has(name) })
    );
    return h(
      "label",
      { class: "kvmdbg-tl-lane", style: `height:${LANE_HEIGHT}px`, "data-lane": name, "data-hidden": scene.hidden.has(name) },
      box,
      canvas,
      h("span", { class: "kvmdbg-tl-name", title: name }, name),
      h("span", { class: "kvmdbg-tl-count" }),
    );
  });
  return rows;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("./timeline_lanes.js").LaneStyle} style
 * @param {Theme} theme
 */
function drawLegendMark(canvas, style, theme) {
  const pen = sharpPen(canvas, 16, 16);
  if (!pen) return;
  pen.fillStyle = pen.strokeStyle = theme.lanes[style.color];
  drawMark(pen, style.shape, 8, 8, 5);
}

/**
 * How many exits each lane has in a range.
 * @param {ExitStore} store
 * @param {string[]} lanes
 * @param {number} first
 * @param {number} end
 * @returns {{name: string, count: number, first: number, last: number}[]}
 */
export function laneCounts(store, lanes, first, end) {
  const found = [];
  for (const name of lanes) {
    const lane = store.lanes.get(name);
    if (!lane) continue;
    const [a, b] = [lane.before(first), lane.before(end)];
    if (b > a) found.push({ name, count: b - a, first: lane.rows[a], last: lane.rows[b - 1] });
  }
  return found;
}

/**
 * Counts by lane as a table.
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {number} unknown before this exit it is not known whether the guest got it back
 */
export function laneTable(store, scene, unknown) {
  const [first, end] = scene.selection ?? [0, store.size];
  const rows = laneCounts(store, scene.lanes, first, end).map(({ name, count, first, last }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...[count, first, last].map((value) => h("td", { class: "kvmdbg-right" }, grouped(value))),
    ),
  );
  const what = scene.selection ? `Selected exits by lane, ${rangeWords(first, end)}` : "Exits by lane";
  const note = unknown > 0 && `Of exits before ${grouped(unknown)} it was not kept which were the guest's own.`;
  return h(
    "div",
    {},
    h("table", {}, h("caption", {}, what), headOf(["lane", "exits", "first", "last"]), h("tbody", {}, ...rows)),
    note && h("p", {}, note),
  );
}

/**
 * The last exits, or the first of the selected ones, as a table.
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {((row: number) => void) | null} travel null where nothing can be clicked
 */
export function exitTable(store, scene, travel) {
  const shown = listedRows(store, scene);
  const rows = shown.map((row) => {
    const clock = store.clockOf(row);
    return h(
      "tr",
      {},
      h("th", { scope: "row", class: "kvmdbg-right" }, travel ? goButton(row, travel) : grouped(row)),
      h("td", { class: "kvmdbg-right" }, clock === null ? "" : grouped(clock)),
      h("td", {}, store.kindOf(row).words),
    );
  });
  const what = scene.selection ? `The first ${counted(shown.length, "exit")} of the selection` : `The last ${counted(shown.length, "exit")}`;
  return h("table", {}, h("caption", {}, what), headOf(["exit", "clock", "what"]), h("tbody", {}, ...rows));
}

/**
 * @param {number} row
 * @param {(row: number) => void} travel
 */
function goButton(row, travel) {
  return h("button", { onclick: () => travel(row), "aria-label": `go to exit ${grouped(row)}`, "data-exit": row }, grouped(row));
}

/** @param {string[]} titles */
function headOf(titles) {
  return h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title))));
}

/**
 * Up to LAST_ROWS rows of lanes that are shown.
 * @param {ExitStore} store
 * @param {Scene} scene
 */
export function listedRows(store, scene) {
  const lanes = scene.shown;
  const [first, end] = scene.selection ?? [0, store.size];
  const way = scene.selection ? 1 : -1;
  const rows = [];
  let row = store.neighbour(lanes, way > 0 ? first - 1 : end, way);
  while (row !== null && row >= first && row < end && rows.length < LAST_ROWS) {
    rows.push(row);
    row = store.neighbour(lanes, row, way);
  }
  return way > 0 ? rows : rows.reverse();
}

/**
 * @param {number} first
 * @param {number} end not included
 */
export function rangeWords(first, end) {
  return end - first === 1 ? `exit ${grouped(first)}` : `exits ${grouped(first)} to ${grouped(end - 1)}`;
}

/**
 * The selected range in words.
 * @param {ExitStore} store
 * @param {Scene} scene
 */
export function selectionWords(store, scene) {
  if (!scene.selection) return "";
  const [first, end] = scene.selection;
  const lanes = laneCounts(store, scene.lanes, first, end).map(({ name, count }) => `${name} ${grouped(count)}`);
  return `${counted(end - first, "exit")} selected, ${rangeWords(first, end)}: ${lanes.join(", ")}`;
}

/**
 * The bar below the picture while exits are selected.
 * @param {ExitStore} store
 * @param {Scene} scene
 * @param {{zoom: () => void, copy: (query: string) => void, clear: () => void}} actions
 */
export function selectionBar(store, scene, actions) {
  if (!scene.selection) return [];
  const query = queryFor(store, ...scene.selection);
  return [
    h("span", {}, selectionWords(store, scene)),
    h("button", { onclick: actions.zoom }, "Zoom to it"),
    query ? h("code", {}, query) : h("span", {}, "(no clocks, so no query by clock)"),
    query && h("button", { onclick: () => actions.copy(query) }, "Copy the query"),
    h("button", { onclick: actions.clear }, "Clear"),
  ].filter((part) => part !== null);
}

/**
 * What is known of one exit.
 * @param {ExitStore} store
 * @param {number} row
 * @param {any} told the kernel's description; null while there is none
 */
export function exitBox(store, row, told) {
  const facts = told?.facts ?? [];
  return [
    h("strong", {}, `exit ${grouped(row)}`),
    h("span", {}, ` ${told?.words ?? store.kindOf(row).words}`),
    h(
      "dl",
      {},
      ...facts.flatMap((/** @type {[string, string]} */ [name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  ];
}
