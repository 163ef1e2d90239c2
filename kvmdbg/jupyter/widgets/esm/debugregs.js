/**
 * The debug registers: DR0-DR3 and whose they are, DR6 and DR7 field by field, breakpoints to arm,
 * and how it was over time. Must not know: the rules of debugging; the kernel says them in words.
 */
import { widget } from "./frame.js";
import { h, liveRegion, perFrame, put } from "./dom.js";
import { drArm, drOwn } from "./debugregs_form.js";
import { drTimeline } from "./debugregs_lanes.js";
import { drButton, drSlots } from "./debugregs_slots.js";
import { drStrips } from "./debugregs_strips.js";
import { drTables, drTwin } from "./debugregs_tables.js";

/** @typedef {import("./channel.js").Channel} Channel */

/**
 * Breakpoints that are disabled hold no debug register; here they can have one again.
 * @param {import("./debugregs_slots.js").DrAct} act
 */
function drResting(act) {
  const element = h("ul", { class: "kvmdbg-dr-resting", "aria-label": "Disabled breakpoints" });
  let shown = "";
  return {
    element,
    /** @param {any[]} breakpoints */
    show(breakpoints) {
      const resting = breakpoints.filter((one) => one.kind === "hw" && !one.enabled);
      const now = resting.map((one) => one.words).join("\n");
      if (now === shown) return;
      shown = now;
      element.hidden = !resting.length;
      element.replaceChildren(
        ...resting.map((one) =>
          h("li", {}, h("span", {}, `${one.words} `), drButton("Enable", "enable", one.number, one.label, element, act), " ",
            drButton("Remove", "delete", one.number, one.label, element, act)),
        ),
      );
    },
  };
}

/**
 * @param {HTMLElement} root
 * @param {Channel} channel
 */
function mount(root, channel) {
  const says = liveRegion();
  const owner = h("p", { class: "kvmdbg-dr-owner" });
  const limits = h("p", { class: "kvmdbg-dr-limits" });
  const act = async (/** @type {string} */ action, /** @type {number} */ number, /** @type {HTMLElement} */ card) => {
    const told = await channel.ask("bp", { action, number });
    says.say(`${told.ok ? "✓" : "✕"} ${told.says}`);
    if (document.activeElement === document.body) card.focus();
  };
  const travel = async (/** @type {number} */ clock) => {
    if (channel.snapshot?.parts.debugregs.history.by !== "clock") return says.say("✕ this engine has no clock: there is no way back");
    const told = await channel.ask("do", { action: "goto", clock });
    says.say(`${told.ok ? "✓" : "✕"} ${told.says}`);
  };
  const slots = drSlots(act);
  const resting = drResting(act);
  const arm = drArm(channel);
  const own = drOwn(channel);
  const strips = drStrips();
  const lanes = drTimeline(travel);
  const part = () => channel.snapshot?.parts?.debugregs;
  const twin = drTwin(() => (part() ? drTables(part(), channel.snapshot?.end ?? -1) : null));
  const empty = h("p", {}, "No VM yet: load a guest, and its debug registers are shown here.");
  const content = h(
    "div",
    { class: "kvmdbg-dr" },
    owner,
    limits,
    slots.element,
    resting.element,
    h("h4", {}, "Arm a debug register"),
    arm.element,
    says.element,
    h("h4", {}, "DR7 and DR6, field by field"),
    strips.element,
    own.element,
    h("h4", {}, "Over time"),
    lanes.element,
    twin.element,
  );
  const show = perFrame(() => {
    const now = part();
    content.hidden = !now;
    empty.hidden = !!now;
    if (!now) return;
    put(owner, now.says);
    owner.dataset.owner = now.owner;
    put(limits, now.rules.limits.join("; "));
    slots.show(now);
    resting.show(channel.snapshot?.breakpoints ?? []);
    arm.show(now);
    own.show(now);
    strips.show(now.registers);
    lanes.show(now, channel.snapshot?.end ?? -1);
    twin.show();
  });
  root.append(empty, content);
  content.hidden = true;
  show();
  const off = channel.on("snapshot", () => show());
  return () => {
    off();
    content.remove();
    empty.remove();
  };
}

export const debugregsView = { title: "Debug registers", parts: ["debugregs"], mount };

export default widget(debugregsView);
