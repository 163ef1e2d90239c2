/**
 * DR0-DR3 as four cards: what the guest has in each, what the host has, which of the two counts, and
 * whose breakpoint it is. Must not know: how a breakpoint is set anew.
 */
import { h, put } from "./dom.js";

/** @typedef {(action: string, number: number, card: HTMLElement) => void} DrAct */

/**
 * The four cards; `show` draws what the part says into them, in place, so that focus stays.
 * @param {DrAct} act
 */
export function drSlots(act) {
  const cards = [0, 1, 2, 3].map((index) => drCard(index, act));
  return {
    element: h("div", { class: "kvmdbg-dr-slots" }, ...cards.map((card) => card.element)),
    /** @param {any} part */
    show(part) {
      cards.forEach((card, index) => card.show(part.slots[index]));
    },
  };
}

/**
 * @param {number} index
 * @param {DrAct} act
 */
function drCard(index, act) {
  const user = h("span", { class: "kvmdbg-dr-user" });
  const hit = h("span", { class: "kvmdbg-dr-hit" });
  const host = drSide("host");
  const guest = drSide("guest");
  const note = h("p", { class: "kvmdbg-dr-note" });
  const actions = h("span", { class: "kvmdbg-dr-actions" });
  const element = h(
    "section",
    { class: "kvmdbg-dr-slot", tabindex: "-1", "aria-label": `DR${index}` },
    h("div", { class: "kvmdbg-dr-head" }, h("strong", {}, `DR${index}`), user, hit, actions),
    h("div", { class: "kvmdbg-dr-sides" }, host.element, guest.element),
    note,
  );
  let shown = -1;
  return {
    element,
    /** @param {any} slot */
    show(slot) {
      const bp = slot.breakpoint;
      put(user, bp ? `breakpoint ${bp.number}, ${drHits(bp.hits)}` : drFree(slot));
      put(hit, slot.hit ? "▶ just hit" : "");
      element.dataset.hit = String(slot.hit);
      element.dataset.used = String(!!(slot.host?.on || slot.guest.on));
      host.show(slot.host);
      guest.show(slot.guest);
      put(note, drNote(bp));
      if (shown !== (bp?.number ?? -1)) drButtons(actions, element, bp, index, act);
      shown = bp?.number ?? -1;
    },
  };
}

/** @param {number} count */
function drHits(count) {
  return count === 1 ? "1 hit" : `${count.toLocaleString("en")} hits`;
}

/** @param {any} slot */
function drFree(slot) {
  if (slot.host?.on) return "set by hand: no breakpoint of the debugger's";
  return slot.guest.on ? "the guest uses it" : "free";
}

/** @param {any} bp */
function drNote(bp) {
  if (!bp) return "";
  const emulated = bp.emulated ? "emulated: the engine makes its stops from other exits" : "";
  return [bp.when && `only if ${bp.when}`, emulated].filter(Boolean).join("; ");
}

/**
 * @param {HTMLElement} place
 * @param {HTMLElement} card takes the focus when the button that had it goes
 * @param {any} bp
 * @param {number} index
 * @param {DrAct} act
 */
function drButtons(place, card, bp, index, act) {
  const focused = place.contains(document.activeElement);
  place.replaceChildren(
    ...(bp
      ? [
          drButton("Disable", "disable", bp.number, `DR${index}`, card, act),
          drButton("Remove", "delete", bp.number, `DR${index}`, card, act),
        ]
      : []),
  );
  if (focused) card.focus();
}

/**
 * @param {string} title
 * @param {string} action
 * @param {number} number
 * @param {string} what
 * @param {HTMLElement} card
 * @param {DrAct} act
 */
export function drButton(title, action, number, what, card, act) {
  return h(
    "button",
    { type: "button", "aria-label": `${title} breakpoint ${number} (${what})`, onclick: () => act(action, number, card) },
    title,
  );
}

/** @param {string} name */
function drSide(name) {
  const shape = h("span", { class: "kvmdbg-dr-shape", "aria-hidden": "true" });
  const state = h("span", { class: "kvmdbg-dr-state" });
  const place = h("b", {});
  const what = h("span", {});
  const element = h(
    "div",
    { class: "kvmdbg-dr-side" },
    h("div", { class: "kvmdbg-dr-whose" }, shape, h("span", {}, name), state),
    h("div", { class: "kvmdbg-dr-what" }, place, what),
  );
  return {
    element,
    /** @param {any} side null where the host has no registers of its own */
    show(side) {
      const counts = !!side && side.state.startsWith("in effect");
      element.dataset.counts = String(counts);
      element.dataset.on = String(!!side?.on);
      put(shape, counts ? "◆" : "◇");
      put(state, side ? side.state : "takes none");
      put(place, side?.on ? `${drPlace(side)} ` : "");
      put(what, side ? drWords(side) : "");
    },
  };
}

/** @param {any} side */
function drPlace(side) {
  return side.label === side.address ? side.address : side.label;
}

/** @param {any} side */
function drWords(side) {
  if (!side.on) return side.address === "0x0" ? "off" : `off, holds ${side.address}`;
  const size = side.length === 1 ? "1 byte" : `${side.length} bytes`;
  const span = drPlace(side) === side.span ? [] : [side.span];
  return [...span, side.access, side.access === "execution" ? "" : size, side.enables].filter(Boolean).join(" · ");
}
