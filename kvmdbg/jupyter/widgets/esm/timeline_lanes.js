/**
 * The lanes of the exit timeline: their order, and for each a shape and a colour of its own, so that
 * nobody needs the colour. Must not know: which exits there are.
 */

/** @typedef {{shape: string, color: number}} LaneStyle colour: its place in `Theme.lanes` */

/** @type {Record<string, LaneStyle>} */
const STYLES = {
  step: { shape: "tick", color: 2 },
  INT3: { shape: "diamond", color: 0 },
  DR0: { shape: "up", color: 1 },
  DR1: { shape: "down", color: 3 },
  DR2: { shape: "right", color: 0 },
  DR3: { shape: "left", color: 2 },
  GD: { shape: "square", color: 1 },
  task: { shape: "plus", color: 3 },
  "guest's own": { shape: "ring", color: 0 },
  "DEBUG other": { shape: "gem", color: 2 },
  EXCEPTION: { shape: "star", color: 0 },
  IO: { shape: "dot", color: 3 },
  MMIO: { shape: "cross", color: 1 },
  HLT: { shape: "box", color: 2 },
  INTR: { shape: "dash", color: 3 },
  SHUTDOWN: { shape: "hourglass", color: 0 },
};
const ORDER = Object.keys(STYLES);
const OTHERS = ["hexagon", "house", "pentagon", "asterisk"];

/**
 * Names in the order in which lanes stand, those without a place at the end, by name.
 * @param {Iterable<string>} names
 */
export function orderedLanes(names) {
  const place = (/** @type {string} */ name) => (ORDER.indexOf(name) + 1 || ORDER.length + 1);
  return [...names].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
}

/**
 * @param {string} name
 * @param {string[]} names all lanes, so that those without a style of their own differ
 * @returns {LaneStyle}
 */
export function laneStyle(name, names) {
  if (STYLES[name]) return STYLES[name];
  const place = orderedLanes(names).filter((other) => !STYLES[other]).indexOf(name);
  return { shape: OTHERS[Math.max(place, 0) % OTHERS.length], color: Math.max(place, 0) % 4 };
}

/** @type {Record<string, number[][]>} corners, in units of the radius */
const CORNERS = {
  diamond: [[0, -1.2], [1, 0], [0, 1.2], [-1, 0]],
  gem: [[0, -1.2], [1, 0], [0, 1.2], [-1, 0]],
  up: [[0, -1.1], [1.1, 0.9], [-1.1, 0.9]],
  down: [[0, 1.1], [1.1, -0.9], [-1.1, -0.9]],
  right: [[1.1, 0], [-0.9, 1.1], [-0.9, -1.1]],
  left: [[-1.1, 0], [0.9, 1.1], [0.9, -1.1]],
  square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  box: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  tick: [[-0.25, -1.3], [0.25, -1.3], [0.25, 1.3], [-0.25, 1.3]],
  dash: [[-1.2, -0.35], [1.2, -0.35], [1.2, 0.35], [-1.2, 0.35]],
  hourglass: [[-1, -1.1], [1, -1.1], [-1, 1.1], [1, 1.1]],
  star: spikes(5, 0.45),
  hexagon: spikes(3, 1),
  pentagon: spikes(5, 0.81),
  asterisk: spikes(6, 0.3),
  house: [[0, -1.2], [1, -0.2], [1, 1], [-1, 1], [-1, -0.2]],
};
const HOLLOW = new Set(["gem", "box", "ring"]);

/**
 * @param {number} points
 * @param {number} inner
 */
function spikes(points, inner) {
  return Array.from({ length: 2 * points }, (_, n) => {
    const [angle, far] = [(n * Math.PI) / points, n % 2 ? inner : 1.2];
    return [far * Math.sin(angle), -far * Math.cos(angle)];
  });
}

/**
 * A lane's mark.
 * @param {CanvasRenderingContext2D} pen with the lane's colour as fill and stroke
 * @param {string} shape
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
export function drawMark(pen, shape, x, y, radius) {
  pen.beginPath();
  if (shape === "dot" || shape === "ring") pen.arc(x, y, radius * 0.95, 0, 7);
  else if (shape === "cross" || shape === "plus") return drawCross(pen, shape === "plus", x, y, radius);
  else for (const [dx, dy] of CORNERS[shape]) pen.lineTo(x + dx * radius, y + dy * radius);
  pen.closePath();
  if (!HOLLOW.has(shape)) return pen.fill();
  pen.lineWidth = 2;
  pen.stroke();
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {boolean} upright
 * @param {number} x
 * @param {number} y
 * @param {number} radius
 */
function drawCross(pen, upright, x, y, radius) {
  const [a, b] = upright ? [radius * 1.1, 0] : [radius * 0.85, radius * 0.85];
  pen.moveTo(x - a, y - b);
  pen.lineTo(x + a, y + b);
  pen.moveTo(x + b, y - a);
  pen.lineTo(x - b, y + a);
  pen.lineWidth = 2.4;
  pen.stroke();
}
