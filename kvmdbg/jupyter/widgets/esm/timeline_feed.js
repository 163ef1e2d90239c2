/**
 * Brings the exits from the kernel into a store: takes what is pushed, and asks for what is missing.
 * Must not know: what is drawn.
 */

/** @typedef {import("./exits.js").ExitStore} ExitStore */
/** @typedef {import("./channel.js").Channel} Channel */

const NOTHING = { total: 0, here: 0, has_clock: false, told_from: 0 };
const SOON = 60; // ms: what the kernel pushes after a snapshot need not be asked for

export class ExitFeed {
  /**
   * @param {Channel} channel
   * @param {ExitStore} store
   * @param {() => void} changed rows have come, or another `part`
   */
  constructor(channel, store, changed) {
    this.channel = channel;
    this.store = store;
    this.changed = changed;
    /** @type {import("./timeline_model.js").Part} the latest one */
    this.part = NOTHING;
    /** Whether somebody needs the clocks. */
    this.clocks = false;
    /** @type {Set<string>} */
    this.asking = new Set();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    /** @type {(() => void)[]} */
    this.off = [];
  }

  start() {
    const { channel } = this;
    this.off = [
      channel.on("snapshot", (snapshot) => this.heard(snapshot)),
      channel.on("exits", (message, buffers) => this.took(message, buffers)),
    ];
    if (channel.snapshot) this.heard(channel.snapshot);
  }

  end() {
    clearTimeout(this.timer);
    this.off.forEach((off) => off());
  }

  /** @param {any} snapshot */
  heard(snapshot) {
    const part = snapshot.parts?.exits;
    if (!part && snapshot.state !== "none") return;
    this.part = part ?? NOTHING;
    if (part?.epoch !== this.store.epoch) this.store.begin(part?.epoch ?? this.store.epoch + 1);
    this.changed();
    this.askSoon();
  }

  /**
   * @param {any} message
   * @param {DataView[]} buffers
   */
  took(message, buffers) {
    if (!this.store.take(message, buffers[0])) return;
    if (this.channel.state === "running") this.part = { ...this.part, here: this.store.size, total: this.store.size };
    this.changed();
    this.askSoon();
  }

  /** The clocks are needed from now on. */
  needClocks() {
    this.clocks = this.part.has_clock;
    this.askSoon();
  }

  askSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.askNow(), SOON);
  }

  askNow() {
    if (this.store.size < this.part.total) void this.ask("code", this.store.size);
    else if (this.clocks && this.store.clocks < this.store.size) void this.ask("clock", this.store.clocks);
  }

  /**
   * @param {string} column
   * @param {number} from
   */
  async ask(column, from) {
    if (this.asking.has(column)) return;
    this.asking.add(column);
    const epoch = this.store.epoch;
    const answer = await this.channel.ask("exits", { epoch, column, from });
    this.asking.delete(column);
    const now = column === "clock" ? this.store.clocks : this.store.size;
    if (answer.ok && (now > from || epoch !== this.store.epoch)) this.askSoon();
  }
}
