/**
 * Mouse, touch and keys on the exit timeline, as gestures. Must not know: exits, or what a gesture
 * leads to.
 */

/**
 * @typedef {object} Gestures
 * @property {(x: number, y: number) => void} hover
 * @property {() => void} leave
 * @property {(x: number, y: number) => void} click
 * @property {(pixels: number) => void} pan
 * @property {(factor: number, x: number) => void} zoom
 * @property {(from: number, to: number) => void} brush
 */

const STILL = 4; // pixels: less is a click
const NOTCH = 1.0015; // for each pixel that a wheel turns

/**
 * How much nearer a wheel's turn brings; 1 for one that belongs to the page. A wheel zooms with Ctrl
 * or Cmd, or where the timeline has the focus, so that it never holds up who only scrolls past.
 * @param {{deltaY: number, deltaMode: number, ctrlKey: boolean, metaKey: boolean}} event
 * @param {boolean} focused
 */
export function wheelFactor(event, focused) {
  if (!(event.ctrlKey || event.metaKey || focused)) return 1;
  const pixels = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
  return NOTCH ** Math.min(Math.max(pixels, -400), 400);
}

/**
 * @param {HTMLElement} element
 * @param {Gestures} gestures
 */
export function listenToPointers(element, gestures) {
  /** @type {Map<number, {x: number, y: number}>} */
  const fingers = new Map();
  let [startX, lastX, moved, brushing, apart] = [0, 0, false, false, 0];
  const place = (/** @type {PointerEvent | WheelEvent} */ event) => {
    const box = element.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return { apart: Math.max(Math.abs(a.x - b.x), 10), middle: (a.x + b.x) / 2 };
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    const at = place(event);
    fingers.set(event.pointerId, at);
    element.setPointerCapture?.(event.pointerId);
    if (fingers.size === 2) apart = spread().apart;
    else [startX, lastX, moved, brushing] = [at.x, at.x, false, event.shiftKey];
    if (brushing) event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!fingers.has(event.pointerId)) return gestures.hover(at.x, at.y);
    fingers.set(event.pointerId, at);
    moved ||= Math.abs(at.x - startX) > STILL || fingers.size > 1;
    if (fingers.size === 2) {
      const now = spread();
      gestures.zoom(apart / now.apart, now.middle);
      apart = now.apart;
    } else if (moved && fingers.size === 1) {
      if (brushing) gestures.brush(startX, at.x);
      else gestures.pan(lastX - at.x);
      lastX = at.x;
    }
  });
  const up = (/** @type {PointerEvent} */ event) => {
    const known = fingers.delete(event.pointerId);
    const at = place(event);
    const [left] = fingers.values();
    if (left) lastX = left.x;
    else if (known && !moved && event.type === "pointerup") gestures.click(at.x, at.y);
  };
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", () => fingers.size || gestures.leave());
  element.addEventListener(
    "wheel",
    (event) => {
      const across = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
      const factor = wheelFactor(event, element.contains(document.activeElement));
      if (Math.abs(across) > Math.abs(event.deltaY) || (event.shiftKey && across)) gestures.pan(across);
      else if (factor !== 1) gestures.zoom(factor, place(event).x);
      else return;
      event.preventDefault();
    },
    { passive: false },
  );
}

/**
 * The window's frame in the strip: dragged, or put where one presses.
 * @param {HTMLElement} strip
 * @param {(part: number) => boolean} inside whether a part (0 to 1) of the strip is in the frame
 * @param {(part: number) => void} centre
 * @param {(part: number) => void} drag
 */
export function listenToStrip(strip, inside, centre, drag) {
  /** @type {number | null} */
  let last = null;
  const part = (/** @type {PointerEvent} */ event) => {
    const box = strip.getBoundingClientRect();
    return (event.clientX - box.left) / Math.max(box.width, 1);
  };
  strip.addEventListener("pointerdown", (event) => {
    last = part(event);
    strip.setPointerCapture?.(event.pointerId);
    if (!inside(last)) centre(last);
  });
  strip.addEventListener("pointermove", (event) => {
    if (last === null) return;
    drag(part(event) - last);
    last = part(event);
  });
  for (const end of ["pointerup", "pointercancel"]) strip.addEventListener(end, () => (last = null));
}

/** @type {Record<string, string>} */
const KEYS = {
  ArrowRight: "next",
  ArrowLeft: "previous",
  ArrowDown: "lane-down",
  ArrowUp: "lane-up",
  "]": "next-in-lane",
  "[": "previous-in-lane",
  PageDown: "pan-right",
  PageUp: "pan-left",
  Home: "first",
  End: "last",
  "+": "nearer",
  "=": "nearer",
  "-": "farther",
  0: "all",
  Enter: "travel",
  b: "bookmark",
  f: "follow",
  Escape: "clear",
};
const SELECTING = new Set(["next", "previous", "first", "last", "next-in-lane", "previous-in-lane"]);

/**
 * What a key means on the timeline; null for one that is not the timeline's.
 * @param {{key: string, shiftKey: boolean, ctrlKey: boolean, metaKey: boolean, altKey: boolean}} event
 * @returns {{name: string, selecting: boolean} | null}
 */
export function keyMeaning(event) {
  const name = KEYS[event.key];
  if (!name || event.ctrlKey || event.metaKey || event.altKey) return null;
  return { name, selecting: event.shiftKey && SELECTING.has(name) };
}

export const KEYS_HELP = [
  ["← →", "the exit before, the next one; with Shift: select"],
  ["↑ ↓", "the lane above, below"],
  ["[ ]", "the exit before, the next one in the lane"],
  ["Home End", "the first exit, the last one"],
  ["+ − 0", "nearer, farther, all"],
  ["Page Up, Page Down", "the window to the left, to the right"],
  ["Enter", "travel to the exit"],
  ["b", "bookmark the present moment"],
  ["f", "follow, or stay"],
  ["Esc", "clear the selection"],
];
