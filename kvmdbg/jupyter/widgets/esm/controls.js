/**
 * The control bar: what runs the guest, as buttons and as keys. Must not know: how the guest is drawn.
 */
import { h, putAttribute, roving } from "./dom.js";
import { progressWords } from "./machine_model.js";

/** @typedef {import("./channel.js").Channel} Channel */
/** @typedef {import("./channel.js").Answer} Answer */
/** @typedef {import("./channel.js").Message} Message */
/**
 * @typedef {object} Control
 * @property {string} action as in `do`
 * @property {string} label
 * @property {string} key for people
 * @property {string} words
 * @property {string} icon SVG path in a square of 16
 * @property {boolean} [back] needs a recording
 * @property {boolean} [gap] stands apart from the one before it
 */

/** @type {Control[]} */
export const CONTROLS = [
  { action: "step", label: "Step", key: "F11", words: "one instruction", icon: "M8 1v8M4.5 6 8 9.5 11.5 6M8 12.5v2" },
  { action: "over", label: "Over", key: "F10", words: "one instruction; a call, INT n, REP or LOOP counts as one", icon: "M2 9c0-7 12-7 12-1M10.5 5.5 14 8.5 15.5 4M8 12.5v2" },
  { action: "out", label: "Out", key: "Shift+F11", words: "until this function has returned", icon: "M8 10V2M4.5 5 8 1.5 11.5 5M8 12.5v2" },
  { action: "step-back", label: "Back", key: "Shift+F10", words: "one instruction back in time", icon: "M14 8H3M6.5 4 2.5 8l4 4", back: true },
  { action: "back", label: "Previous stop", key: "", words: "back in time, to the stop before", icon: "M14 3v10L6.5 8zM3 3v10", back: true },
  { action: "continue", label: "Continue", key: "F8", words: "run until something stops the guest", icon: "M4 2.5v11L13 8z", gap: true },
  { action: "until", label: "To cursor", key: "Ctrl+F10", words: "run until the chosen line of code", icon: "M2 3v10M5 8h8M9.5 4.5 13 8l-3.5 3.5" },
  { action: "stop", label: "Stop", key: "Shift+F8", words: "end the run", icon: "M3.5 3.5h9v9h-9z" },
  { action: "reset", label: "Reset", key: "", words: "back to right after the last load; the recording is lost", icon: "M13 5A6 6 0 1 0 14 8M13.5 1.5V5H10", gap: true },
];

const COUNTED_ACTIONS = ["step", "over", "step-back"];
const MOST_PRESSES = 1000;

/** Requests to run the guest, one after the other: presses meanwhile are counted, not queued. */
export class Turns {
  /**
   * @param {(op: string, fields: Message) => Promise<Answer>} ask
   * @param {(says: string) => void} say told what went wrong; empty when all is well
   */
  constructor(ask, say) {
    this.ask = ask;
    this.say = say;
    /** @type {string | null} the action whose answer is open */
    this.open = null;
    /** How many more of the open action were pressed meanwhile. */
    this.more = 0;
    this.stopping = false;
  }

  /**
   * @param {string} action
   * @param {Message} [fields]
   */
  press(action, fields = {}) {
    if (action === "stop") return this.stop();
    if (this.open === null) return this.send(action, fields);
    if (this.open === action && COUNTED_ACTIONS.includes(action)) this.more = Math.min(this.more + 1, MOST_PRESSES);
    return Promise.resolve();
  }

  /** Not in line behind what it is to end. */
  async stop() {
    this.more = 0;
    if (this.stopping) return;
    this.stopping = true;
    const answer = await this.ask("do", { action: "stop" });
    this.stopping = false;
    this.say(answer.ok ? "" : answer.says);
  }

  /**
   * @param {string} action
   * @param {Message} fields
   * @returns {Promise<void>}
   */
  async send(action, fields) {
    this.open = action;
    const answer = await this.ask("do", { action, ...fields });
    const count = answer.ok ? this.more : 0;
    this.open = null;
    this.more = 0;
    this.say(answer.ok ? "" : answer.says);
    if (count) await this.send(action, { ...fields, count });
  }
}

/** @type {Record<string, string>} */
const CONTROL_KEYS = {
  F11: "step",
  F10: "over",
  "Shift+F11": "out",
  "Shift+F10": "step-back",
  F8: "continue",
  "Shift+F8": "stop",
  "Ctrl+F10": "until",
};

/**
 * The action that a key means, or nothing.
 * @param {{key: string, shiftKey: boolean, ctrlKey: boolean, altKey: boolean, metaKey: boolean}} event
 */
export function actionOfKey(event) {
  if (event.altKey || event.metaKey) return undefined;
  return CONTROL_KEYS[`${event.ctrlKey ? "Ctrl+" : ""}${event.shiftKey ? "Shift+" : ""}${event.key}`];
}

/**
 * Why a control cannot be used now; empty if it can.
 * @param {Control} control
 * @param {Channel} channel
 */
export function whyNot(control, channel) {
  if (channel.state === "closed" || channel.state === "lost") return "there is no guest";
  const running = channel.state === "running";
  if (control.action === "stop") return running ? "" : "the guest is not running";
  if (running) return "the guest is running";
  if (!channel.snapshot || channel.snapshot.state === "none") return "there is no guest yet";
  if (control.back && channel.snapshot.clock < 0) return "this engine cannot go back in time";
  return "";
}

/**
 * The bar. `fieldsOf` adds what an action needs (the chosen line), or null where it is missing.
 * @param {Channel} channel
 * @param {(action: string) => Message | null} fieldsOf
 */
export function controlBar(channel, fieldsOf) {
  const status = h("div", { class: "kvmdbg-progress" });
  const say = (/** @type {string} */ text) => void (status.textContent = text);
  const turns = new Turns((op, fields) => channel.ask(op, fields), say);
  const buttons = CONTROLS.map((control) => controlButton(control, () => act(control.action)));
  const bar = h("div", { class: "kvmdbg-controls", role: "toolbar", "aria-label": "Run the guest", "data-lm-suppress-shortcuts": "true" }, ...buttons);
  roving(bar, "button");

  /** @param {string} action */
  function act(action) {
    const control = CONTROLS.find((c) => c.action === action);
    const reason = control ? whyNot(control, channel) : "";
    const fields = fieldsOf(action);
    if (reason) say(reason);
    else if (!fields) say("choose a line of code first: click it, or go there by the arrow keys");
    else void turns.press(action, fields);
  }

  const settle = () => {
    CONTROLS.forEach((control, n) => {
      const reason = whyNot(control, channel);
      putAttribute(buttons[n], "aria-disabled", String(!!reason));
      putAttribute(buttons[n], "title", controlTitle(control, reason));
    });
  };
  const offs = [
    channel.on("state", (message) => {
      settle();
      if (message.state && message.state !== "running") say("");
      else if (!message.state) say(message.says);
    }),
    channel.on("snapshot", settle),
    channel.on("running", (message) => say(`${progressWords(message)}; Shift+F8 stops it`)),
  ];
  settle();
  return { element: h("div", {}, bar, status), act, end: () => offs.forEach((off) => off()) };
}

/**
 * @param {Control} control
 * @param {string} reason why it cannot be used
 */
function controlTitle(control, reason) {
  const key = control.key ? ` (${control.key})` : "";
  return `${control.label}${key}: ${reason || control.words}`;
}

/**
 * @param {Control} control
 * @param {() => void} pressed
 */
function controlButton(control, pressed) {
  return h(
    "button",
    {
      type: "button",
      class: `kvmdbg-control${control.gap ? " kvmdbg-control-apart" : ""}`,
      "data-action": control.action,
      "aria-label": control.label,
      "aria-keyshortcuts": control.key ? control.key.replace("Ctrl", "Control") : null,
      onclick: pressed,
    },
    controlIcon(control),
    h("span", { class: "kvmdbg-control-label", "aria-hidden": "true" }, control.label),
  );
}

const ICON_NAMESPACE = "http://www.w3.org/2000/svg";

/** @param {Control} control */
function controlIcon(control) {
  const icon = document.createElementNS(ICON_NAMESPACE, "svg");
  icon.setAttribute("viewBox", "0 0 16 16");
  icon.setAttribute("aria-hidden", "true");
  icon.setAttribute("class", "kvmdbg-icon");
  const path = document.createElementNS(ICON_NAMESPACE, "path");
  path.setAttribute("d", control.icon);
  icon.append(path);
  return icon;
}
