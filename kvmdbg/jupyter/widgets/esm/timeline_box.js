/**
 * The box beside an exit: at once what the page knows, then what the kernel says of it. Must not
 * know: which exit is meant, or how it was pointed at.
 */
import { exitBox } from "./timeline_panels.js";

const PATIENT = 120; // ms for which an exit must be pointed at before the kernel is asked

export class ExitBox {
  /**
   * @param {HTMLElement} element
   * @param {import("./channel.js").Channel} channel
   * @param {import("./exits.js").ExitStore} store
   * @param {(text: string) => void} say
   */
  constructor(element, channel, store, say) {
    this.element = element;
    this.channel = channel;
    this.store = store;
    this.say = say;
    /** @type {number | null} the exit that is shown */
    this.row = null;
    this.y = 0;
    /** Whether the kernel's words are to be read out when they come. */
    this.spoken = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /**
   * @param {number} row
   * @param {{x: number, y: number, width: number}} at in pixels
   * @param {boolean} spoken
   */
  show(row, at, spoken) {
    clearTimeout(this.timer);
    this.row = row;
    this.spoken = spoken;
    this.y = at.y;
    this.element.hidden = false;
    const right = at.x > at.width / 2;
    this.element.style.left = right ? "auto" : `${Math.max(at.x + 12, 0)}px`;
    this.element.style.right = right ? `${Math.max(at.width - at.x + 12, 0)}px` : "auto";
    this.fill(null);
    this.timer = setTimeout(() => void this.ask(row), PATIENT);
  }

  /** @param {number} row */
  async ask(row) {
    const answer = await this.channel.ask("exit", { exit: row, epoch: this.store.epoch });
    if (this.row !== row) return;
    if (answer.ok) this.fill(answer.data);
    if (this.spoken) this.say(answer.says);
  }

  /** @param {any} told */
  fill(told) {
    const { element, row } = this;
    if (row === null) return;
    element.replaceChildren(...exitBox(this.store, row, told));
    const view = element.closest(".kvmdbg-view")?.getBoundingClientRect().bottom ?? Infinity;
    const stage = element.parentElement?.getBoundingClientRect().top ?? 0;
    element.style.top = `${Math.min(this.y, view - stage - element.offsetHeight - 4)}px`; // what is behind the view is cut off
  }

  hide() {
    clearTimeout(this.timer);
    this.row = null;
    this.element.hidden = true;
  }
}
