/**
 * The timeline's bookmarks: flags that move with it, and the form that names the present moment.
 * Must not know: what else is drawn.
 */
import { h } from "./dom.js";
import { grouped, pixelOf } from "./timeline_scale.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./timeline_model.js").TimelineModel} TimelineModel */
/** @typedef {ReturnType<typeof import("./timeline_elements.js").timelineElements>} TimelineParts */

const FLAG_ROOM = 140; // pixels

export class TimelineBookmarks {
  /**
   * @param {Channel} channel
   * @param {TimelineParts} parts
   * @param {ExitStore} store
   * @param {TimelineModel} model
   * @param {(name: string) => void} goto
   */
  constructor(channel, parts, store, model, goto) {
    this.channel = channel;
    this.parts = parts;
    this.store = store;
    this.model = model;
    this.goto = goto;
    /** @type {Map<string, HTMLElement>} */
    this.flags = new Map();
  }

  /** @returns {[string, number][]} */
  get known() {
    return Object.entries(this.channel.snapshot?.bookmarks ?? {});
  }

  /** One flag for each bookmark that there is now. */
  renew() {
    const marks = this.known;
    for (const [name, flag] of this.flags) {
      if (marks.some(([other, clock]) => other === name && String(clock) === flag.dataset.clock)) continue;
      flag.remove();
      this.flags.delete(name);
    }
    for (const [name, clock] of marks) {
      if (this.flags.has(name)) continue;
      const title = `bookmark ${name}, clock ${grouped(clock)}: go there`;
      const flag = h("button", { class: "kvmdbg-tl-flag", "data-clock": clock, title, onclick: () => this.goto(name) }, `⚑ ${name}`);
      this.flags.set(name, flag);
      this.parts.flagged.append(flag);
    }
  }

  /** @param {number} width of the plot, in pixels */
  place(width) {
    const { model, store } = this;
    for (const flag of this.flags.values()) {
      const clock = Number(flag.dataset.clock);
      const at = pixelOf(model.span, width, model.axis === "clock" ? clock : store.upTo(clock));
      const left = at > width - FLAG_ROOM;
      placeAt(flag, at, width, store.searchable);
      if (left) flag.style.transform += " translateX(-100%)";
      flag.classList.toggle("kvmdbg-tl-flag-left", left);
    }
  }

  /** @param {string} value the name that is proposed */
  ask(value) {
    const naming = /** @type {HTMLFormElement} */ (this.parts.naming);
    const field = /** @type {HTMLInputElement} */ (h("input", { "aria-label": "name of the bookmark", value, size: 16 }));
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.end();
      if (event.key !== "Enter") return;
      event.preventDefault(); // notebooks keep Enter from sending a form
      naming.requestSubmit();
    });
    naming.replaceChildren(field, h("button", { type: "submit" }, "Set"));
    naming.hidden = false;
    field.focus();
    field.select();
  }

  end() {
    this.parts.naming.hidden = true;
    this.parts.naming.replaceChildren();
    this.parts.plot.focus();
  }

  /** @param {Event} event */
  async set(event) {
    event.preventDefault();
    const name = this.parts.naming.querySelector("input")?.value ?? "";
    this.end();
    const answer = await this.channel.ask("bookmark", { name });
    this.parts.says.say(answer.ok ? `bookmark ${answer.says}` : answer.says);
  }
}

/**
 * @param {HTMLElement} element
 * @param {number} x
 * @param {number} most
 * @param {boolean} on
 */
export function placeAt(element, x, most, on) {
  element.style.display = on && x >= 0 && x <= most ? "" : "none";
  element.style.transform = `translateX(${Math.round(x)}px)`;
}
