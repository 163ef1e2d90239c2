/**
 * The elements of the exit timeline and where they stand. Must not know: what they show, or what is
 * done when one of them is used.
 */
import { h, liveRegion } from "./dom.js";
import { KEYS_HELP } from "./timeline_input.js";

export const OVERVIEW_HEIGHT = 34;

/**
 * @typedef {object} Controls
 * @property {(name: string) => void} act
 * @property {(axis: string) => void} axis
 * @property {() => void} follow
 * @property {() => void} tables
 * @property {(event: Event) => void} named
 */

/**
 * @param {string} id unique on the page
 * @param {Controls} controls
 */
export function timelineElements(id, controls) {
  const picture = pictureElements(id);
  const bar = toolbar(id, controls);
  const says = liveRegion();
  const selected = h("div", { class: "kvmdbg-tl-selected" });
  const [lanesBehind, exitsBehind] = [h("div"), h("div")];
  const behind = h("div", { class: "kvmdbg-tl-tables kvmdbg-spoken", id: `${id}-tables` }, lanesBehind, exitsBehind);
  const grid = h(
    "div",
    { class: "kvmdbg-tl-grid" },
    h("span", { class: "kvmdbg-tl-caption" }, "all exits"),
    picture.overview,
    h("span"),
    h("div", { class: "kvmdbg-tl-top" }, picture.aheadLabel, picture.nowLabel, picture.flagged),
    picture.names,
    h("div", { class: "kvmdbg-tl-stage" }, picture.plot, picture.box),
  );
  const children = [bar.element, grid, selected, says.element, keysHelp(id), behind];
  return { ...picture, ...bar, says, selected, lanesBehind, exitsBehind, behind, children };
}

/** @param {string} id */
function pictureElements(id) {
  const hidden = { class: "kvmdbg-tl-canvas", "aria-hidden": "true" };
  const canvas = /** @type {HTMLCanvasElement} */ (h("canvas", hidden));
  const strip = /** @type {HTMLCanvasElement} */ (h("canvas", hidden));
  const frame = h("div", { class: "kvmdbg-tl-frame" });
  const plot = h(
    "div",
    {
      class: "kvmdbg-tl-plot",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "timeline",
      "aria-label": "Exit timeline",
      "aria-describedby": `${id}-keys`,
      "data-lm-suppress-shortcuts": "true",
    },
    canvas,
  );
  return {
    canvas,
    strip,
    frame,
    plot,
    overview: h("div", { class: "kvmdbg-tl-overview", style: `height:${OVERVIEW_HEIGHT}px` }, strip, frame),
    names: h("div", { class: "kvmdbg-tl-names", role: "group", "aria-label": "lanes to show" }),
    box: h("div", { class: "kvmdbg-tl-box", hidden: true }),
    flagged: h("div", { class: "kvmdbg-tl-flags", role: "group", "aria-label": "bookmarks" }),
    nowLabel: h("span", { class: "kvmdbg-tl-now", "aria-hidden": "true" }, "now"),
    aheadLabel: h("span", { class: "kvmdbg-tl-ahead", "aria-hidden": "true" }, "recorded future"),
  };
}

/**
 * @param {string} id
 * @param {Controls} controls
 */
function toolbar(id, controls) {
  const summary = h("span", { class: "kvmdbg-tl-summary" });
  const axisChoice = /** @type {HTMLSelectElement} */ (
    h(
      "select",
      { "aria-label": "x axis", onchange: () => controls.axis(axisChoice.value) },
      h("option", { value: "exit" }, "by exit number"),
      h("option", { value: "clock" }, "by clock (instructions)"),
    )
  );
  const followButton = h("button", { "aria-pressed": "true", onclick: controls.follow }, "Follow");
  const tableButton = h("button", { "aria-expanded": "false", "aria-controls": `${id}-tables`, onclick: controls.tables }, "Table");
  const naming = h("form", { class: "kvmdbg-tl-naming", hidden: true, "data-lm-suppress-shortcuts": "true", onsubmit: controls.named });
  const element = h(
    "div",
    { class: "kvmdbg-tl-bar", role: "group", "aria-label": "timeline controls" },
    summary,
    h("button", { "aria-label": "farther", title: "farther (-)", onclick: () => controls.act("farther") }, "−"),
    h("button", { "aria-label": "nearer", title: "nearer (+)", onclick: () => controls.act("nearer") }, "+"),
    h("button", { title: "all exits (0)", onclick: () => controls.act("all") }, "All"),
    axisChoice,
    followButton,
    h("button", { title: "name the present moment (b)", onclick: () => controls.act("bookmark") }, "Bookmark"),
    naming,
    tableButton,
  );
  return { element, summary, axisChoice, followButton, tableButton, naming };
}

/** @param {string} id */
function keysHelp(id) {
  return h(
    "details",
    { class: "kvmdbg-tl-help" },
    h("summary", {}, "Keys and mouse"),
    h("dl", { id: `${id}-keys` }, ...KEYS_HELP.flatMap(([keys, what]) => [h("dt", {}, keys), h("dd", {}, what)])),
    h("p", {}, "Click: travel to the exit. Drag: move. Shift and drag: select. Wheel: with Ctrl or Cmd, or after a click here, zoom."),
  );
}
