/**
 * Elements, cards and small tools for views. Text is only ever set as text: nothing that a guest
 * prints or a label says can become markup. Must not know: the kernel, or what a view is about.
 */

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element: `h("button", {class: "x", onclick: f, "aria-label": "step"}, "Step")`.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] functions become listeners, false and null are left out
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((c) => c !== null && c !== undefined && c !== false).map(asNode));
  return element;
}

/** @param {any} child */
function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

const MARKS = /** @type {Record<string, [string, string]>} */ ({
  changed: ["▲", "changed"],
  active: ["◆", "active"],
  here: ["▶", "next instruction"],
  break: ["●", "breakpoint"],
});

/**
 * A mark that is a shape for the eye and a word for the ear.
 * @param {string} name
 */
export function mark(name) {
  const [symbol, words] = MARKS[name] ?? ["", ""];
  return h(
    "span",
    { class: `kvmdbg-mark kvmdbg-mark-${name}` },
    h("span", { "aria-hidden": "true" }, symbol),
    h("span", { class: "kvmdbg-spoken" }, ` ${words} `),
  );
}

/**
 * A card as the kernel words it: title, sentence, tables (docs/live-views.md).
 * @param {any} card
 */
export function renderCard(card) {
  return h(
    "section",
    { class: "kvmdbg-card", "aria-label": card.title },
    h("h4", {}, card.title),
    card.note && h("p", {}, card.note),
    ...card.tables.map(renderTable),
  );
}

/** @param {any} table */
export function renderTable(table) {
  const titled = table.columns.some((/** @type {any} */ column) => column.title);
  return h(
    "div",
    { class: "kvmdbg-scroll", tabindex: "0", role: "region", "aria-label": table.caption || "table" },
    h(
      "table",
      {},
      table.caption && h("caption", {}, table.caption),
      titled &&
        h("thead", {}, h("tr", {}, ...table.columns.map((/** @type {any} */ c) => h("th", { scope: "col" }, c.title)))),
      h("tbody", {}, ...table.rows.map((/** @type {any} */ row) => renderRow(row, table.columns))),
    ),
  );
}

/**
 * @param {any[]} row
 * @param {any[]} columns
 */
function renderRow(row, columns) {
  const cells = row.map((cell, n) => {
    const rest = n === row.length - 1 && row.length < columns.length;
    return h(
      cell.head ? "th" : "td",
      {
        scope: cell.head && "row",
        title: cell.title,
        colspan: rest && columns.length - n,
        class: columns[n]?.prose ? "kvmdbg-prose" : columns[n]?.right && "kvmdbg-right",
      },
      cell.mark && mark(cell.mark),
      cell.text,
    );
  });
  return h("tr", {}, ...cells);
}

/**
 * A region that a screen reader reads out when its text changes; `assertive` interrupts.
 * @param {"polite" | "assertive"} [how]
 */
export function liveRegion(how = "polite") {
  const region = h("div", { class: "kvmdbg-says", role: "status", "aria-live": how });
  return {
    element: region,
    /** @param {string} text */
    say(text) {
      if (region.textContent !== text) region.textContent = text;
    },
  };
}

/**
 * One stop of Tab for a group of elements, arrow keys inside it (WAI-ARIA: roving tabindex).
 * @param {HTMLElement} group
 * @param {string} selector its elements
 */
export function roving(group, selector) {
  const items = () => /** @type {HTMLElement[]} */ ([...group.querySelectorAll(selector)]);
  const settle = () => items().forEach((item, n) => (item.tabIndex = n ? -1 : 0));
  group.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined || !all[to]) return;
    event.preventDefault();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  });
  settle();
  return settle;
}

/**
 * Set a text, if it is another one: a screen reader and the eye see only what changed.
 * @param {Node} node
 * @param {string} text
 */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Set an attribute if it has another value, or remove it for null: the same value again makes the
 * browser work out styles.
 * @param {Element} element
 * @param {string} name
 * @param {string | null} value
 */
export function putAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/**
 * Call `work` at most once a frame, with the latest arguments.
 * @template {any[]} A
 * @param {(...args: A) => void} work
 * @returns {(...args: A) => void}
 */
export function perFrame(work) {
  /** @type {A | null} */
  let due = null;
  return (...args) => {
    if (!due) requestAnimationFrame(() => {
      const latest = /** @type {A} */ (due);
      due = null;
      work(...latest);
    });
    due = args;
  };
}

/**
 * Call `work` at once and then at most once in `pause` milliseconds, the last time behind the last call.
 * @param {number} pause
 * @param {() => void} work
 * @returns {() => void}
 */
export function atMostEvery(pause, work) {
  let resting = false;
  let due = false;
  const go = () => {
    [resting, due] = [true, false];
    setTimeout(() => {
      resting = false;
      if (due) go();
    }, pause);
    work();
  };
  return () => void (resting ? (due = true) : go());
}
