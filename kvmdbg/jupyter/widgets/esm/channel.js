/**
 * A view's line to its VM in the kernel (docs/live-views.md). One channel for each pair of models or
 * comms, shared by all views of a page, so that all of them show the same moment.
 * Must not know: what is drawn.
 */

/** @typedef {Record<string, any>} Message */
/** @typedef {"connecting" | "live" | "running" | "closed" | "lost"} State */
/** @typedef {{ok: boolean, says: string, data?: any}} Answer */
/** @typedef {(message: Message, buffers: DataView[]) => void} Listener */
/**
 * What carries messages: a pair of widget models or of comms.
 * @typedef {object} Line
 * @property {(message: Message) => void} send
 * @property {(heard: Listener) => void} hear calls `heard` for each message of the kernel
 * @property {(lost: () => void) => void} onLost calls `lost` when nothing will ever come again
 */

export const VERSION = 1;
const GONE = "the kernel is gone: this is how the guest stood last";
const PATIENCE = 4000; // ms until a view says that the kernel does not answer
const GREETING = 1500; // ms after which a hello that nobody answered is said again

export class Channel {
  /** @param {Line} line */
  constructor(line) {
    /** @type {Message | null} */
    this.snapshot = null;
    /** @type {State} */
    this.state = "connecting";
    /** One sentence about the state, for people. */
    this.says = "waiting for the kernel";
    /** This page's name among the pages that look at the same VM. */
    this.view = Math.random().toString(36).slice(2);
    this.line = line;
    /** @type {Map<string, Set<Listener>>} */
    this.listeners = new Map();
    /** @type {Map<number, (answer: Answer) => void>} */
    this.asked = new Map();
    /** @type {Map<string, number>} */
    this.wants = new Map();
    this.lastId = 0;
    line.hear((message, buffers) => this.receive(message, buffers));
    line.onLost(() => this.enter("lost", GONE));
  }

  /**
   * @param {string} name `snapshot`, `running`, `exits`, `state`
   * @param {Listener} listener
   * @returns {() => void} ends it
   */
  on(name, listener) {
    const found = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, found.add(listener));
    return () => void found.delete(listener);
  }

  /**
   * A view is there that needs these parts of each snapshot; the returned function takes it back.
   * @param {string[]} parts
   */
  want(parts) {
    for (const part of parts) this.wants.set(part, (this.wants.get(part) ?? 0) + 1);
    void this.greet();
    return () => {
      for (const part of parts) this.wants.set(part, (this.wants.get(part) ?? 1) - 1);
      void this.hello();
    };
  }

  /** Say which parts are wanted, and get a whole snapshot. */
  hello() {
    return this.ask("hello", { wants: this.wanted(), changes: true });
  }

  wanted() {
    return [...this.wants].filter(([, count]) => count > 0).map(([part]) => part).sort();
  }

  async greet() {
    const first = await Promise.race([this.hello(), later(GREETING)]);
    if (!first && this.state === "connecting") void this.hello();
  }

  /**
   * Ask for something; the promise never rejects.
   * @param {string} op
   * @param {Message} [fields]
   * @returns {Promise<Answer>}
   */
  ask(op, fields = {}) {
    if (this.state === "lost") return Promise.resolve({ ok: false, says: this.says });
    const id = ++this.lastId;
    return new Promise((resolve) => {
      this.asked.set(id, resolve);
      this.send({ ...fields, v: VERSION, op, view: this.view, id });
      setTimeout(() => this.overdue(id), PATIENCE);
    });
  }

  /**
   * A line whose kernel was shut down says so only when one sends.
   * @param {Message} message
   */
  send(message) {
    try {
      this.line.send(message);
    } catch {
      this.enter("lost", GONE);
    }
  }

  /** @param {number} id */
  overdue(id) {
    if (this.asked.has(id) && this.state !== "lost")
      this.tell("state", { says: "the kernel is busy: it will answer when the cell has ended" });
  }

  /**
   * @param {Message} message
   * @param {DataView[]} buffers
   */
  receive(message, buffers) {
    if (message?.v !== VERSION || this.state === "lost") return;
    if (message.op === "answer") this.answered(message);
    else if (message.op === "gone") this.enter("closed", message.says);
    else if (message.op === "note") this.enter(this.state, message.says);
    else if (message.op === "running") {
      this.enter("running", message.says);
      this.tell("running", message);
    } else if (message.op === "snapshot") {
      const snapshot = this.whole(message);
      if (snapshot) this.show(snapshot);
      /** @type {Message[]} */ (message.rows ?? []).forEach((rows, n) => this.tell("exits", rows, [buffers[n]]));
    } else this.tell(message.op, message, buffers);
  }

  /** @param {Message} snapshot */
  show(snapshot) {
    this.snapshot = snapshot;
    this.enter(snapshot.state === "none" ? "closed" : "live", snapshot.says);
    this.tell("snapshot", snapshot);
  }

  /**
   * A snapshot that may say only what has changed; null where the one before never came.
   * @param {Message} message
   */
  whole(message) {
    if (!message.changes) return message;
    if (this.snapshot?.serial === message.since) return patched(this.snapshot, message.changes);
    if (this.snapshot) void this.hello();
    return null;
  }

  /** @param {Message} message */
  answered(message) {
    if (message.to !== this.view) return;
    this.asked.get(message.id)?.({ ok: !!message.ok, says: String(message.says), data: message.data });
    this.asked.delete(message.id);
  }

  /**
   * @param {State} state
   * @param {string} says
   */
  enter(state, says) {
    const changed = state !== this.state || says !== this.says;
    this.state = state;
    this.says = says;
    if (state === "lost") {
      for (const resolve of this.asked.values()) resolve({ ok: false, says });
      this.asked.clear();
    }
    if (changed) this.tell("state", { state, says });
  }

  /**
   * @param {string} name
   * @param {Message} message
   * @param {DataView[]} [buffers]
   */
  tell(name, message, buffers = []) {
    for (const listener of [...(this.listeners.get(name) ?? [])]) listener(message, buffers);
  }
}

/**
 * What comes of a value by changes (live/changes.py); what has not changed is the same object.
 * @param {any} before
 * @param {any} change `[value]`, or changes by key or index
 * @returns {any}
 */
export function patched(before, change) {
  if (Array.isArray(change)) return change[0];
  const made = Array.isArray(before) ? [...before] : { ...before };
  for (const [key, inner] of Object.entries(change)) made[key] = patched(before[key], inner);
  return made;
}

/** @param {number} ms @returns {Promise<null>} */
function later(ms) {
  return new Promise((resolve) => setTimeout(() => resolve(null), ms));
}

const SHARED = Symbol.for("kvmdbg.channels");

/**
 * The channel of a widget's model; null where there is no kernel behind it (a saved page).
 * @param {any} model anywidget's view of the model
 * @returns {Promise<Channel | null>}
 */
export async function connect(model) {
  const named = (/** @type {string} */ name) => model.get(name).replace("IPY_MODEL_", "");
  /** @type {Map<string, Channel>} */
  const channels = (/** @type {any} */ (globalThis)[SHARED] ??= new Map());
  const found = channels.get(named("push"));
  if (found && found.state !== "lost") return found;
  const manager = model.widget_manager;
  const [push, control] = await Promise.all([
    manager.get_model(named("push")),
    manager.get_model(named("control")),
  ]);
  if (!push?.comm_live || !control?.comm_live) return null;
  const channel = new Channel(lineOfModels(push, control));
  channels.set(named("push"), channel);
  return channel;
}

/**
 * @param {any} push
 * @param {any} control
 * @returns {Line}
 */
function lineOfModels(push, control) {
  return {
    send: (message) => control.send(message, {}),
    hear: (heard) => push.on("msg:custom", heard),
    onLost: (lost) => {
      push.on("comm:close destroy", lost);
      push.on("comm_live_update", () => push.comm_live || lost());
    },
  };
}
