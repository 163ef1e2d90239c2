/**
 * Colours for canvases, from JupyterLab's CSS variables where they are, and told when they change.
 * Must not know: what is drawn with them.
 */

/**
 * @typedef {object} Theme
 * @property {boolean} dark
 * @property {string} paper
 * @property {string} ink
 * @property {string} dim
 * @property {string} line
 * @property {string} accent
 * @property {string[]} lanes four colours that people with any colour vision tell apart (Okabe-Ito)
 */

const LIGHT = ["#D55E00", "#CC79A7", "#0072B2", "#009E73"];
const DARK = ["#E69F00", "#CC79A7", "#56B4E9", "#009E73"];

/**
 * @param {Element} element
 * @returns {Theme}
 */
export function themeOf(element) {
  const style = getComputedStyle(element);
  const read = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const dark = isDark(read("--kvmdbg-paper"));
  return {
    dark,
    paper: read("--kvmdbg-paper"),
    ink: read("--kvmdbg-ink"),
    dim: read("--kvmdbg-dim"),
    line: read("--kvmdbg-line"),
    accent: read("--kvmdbg-accent"),
    lanes: dark ? DARK : LIGHT,
  };
}

/**
 * Whether light ink belongs on a colour such as `#111`, `#111111`, `rgb(17, 17, 17)`, `black`.
 * @param {string} color
 */
export function isDark(color) {
  const [r, g, b] = parts(color);
  return 0.299 * r + 0.587 * g + 0.114 * b < 128;
}

/** @param {string} color */
function parts(color) {
  const long = color.replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
  const hex = /^#(..)(..)(..)/.exec(long);
  if (hex) return hex.slice(1).map((digits) => parseInt(digits, 16));
  const numbers = color.match(/[\d.]+/g)?.map(Number);
  return numbers && numbers.length >= 3 ? numbers : color === "black" ? [0, 0, 0] : [255, 255, 255];
}

/** Whether the person has asked for no movement. */
export function calm() {
  return globalThis.matchMedia?.("(prefers-reduced-motion: reduce)").matches ?? false;
}

/**
 * Calls `changed` when JupyterLab or the system changes the theme; the returned function ends it.
 * @param {() => void} changed
 */
export function onTheme(changed) {
  const watcher = new MutationObserver(changed);
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
  const system = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
  system?.addEventListener("change", changed);
  return () => {
    watcher.disconnect();
    system?.removeEventListener("change", changed);
  };
}
