/**
 * The frame around each view: what the kernel says, whether it still lives, and the still picture
 * where there is no kernel. Must not know: what is inside.
 */
import { connect } from "./channel.js";
import { h, liveRegion, perFrame, putAttribute } from "./dom.js";

/** @typedef {import("./channel.js").Channel} Channel */
/**
 * Draws a view into `root`; what it returns takes it away again.
 * @typedef {(root: HTMLElement, channel: Channel, options: Record<string, any>) => () => void} Mount
 */

/** What is said beside a still picture. */
export const STOOD = "no kernel has this view: this is how the guest stood when it was made; run the cell again";

/**
 * A view with its frame, in a widget as in JupyterLab's panel.
 * @param {HTMLElement} host
 * @param {Channel} channel
 * @param {{title: string, parts: string[], mount: Mount}} view
 * @param {Record<string, any>} [options]
 * @returns {() => void}
 */
export function framed(host, channel, view, options = {}) {
  const notice = h("div", { class: "kvmdbg-state" });
  const says = liveRegion();
  const inside = h("div", { class: "kvmdbg-live" });
  const root = h("section", { class: "kvmdbg-view", role: "region", "aria-label": view.title, tabindex: "-1" }, says.element, notice, inside);
  root.addEventListener("focusin", keepKeys);
  host.append(root);
  const show = () => {
    putAttribute(root, "data-state", channel.state);
    const alive = channel.state === "live" || channel.state === "running";
    notice.textContent = alive ? "" : channel.says;
    says.say(alive ? channel.says : "");
  };
  const drawn = perFrame(() => void (root.dataset.serial = String(channel.snapshot?.serial ?? 0)));
  const off = [
    channel.on("state", show),
    channel.want(view.parts),
    view.mount(inside, channel, options),
    channel.on("snapshot", drawn), // after the view's own listener, and in the frame that it draws in
  ];
  show();
  return () => {
    off.forEach((end) => end());
    root.remove();
  };
}

/**
 * What is typed in a view is the view's: JupyterLab would take a letter for a command (cut the cell).
 * It looks at the element that has the focus before it looks at its own rules.
 * @param {FocusEvent} event
 */
function keepKeys(event) {
  if (event.target instanceof Element) event.target.setAttribute("data-lm-suppress-shortcuts", "true");
}

/**
 * The `render` of an anywidget.
 * @param {{title: string, parts: string[], mount: Mount}} view
 */
export function widget(view) {
  return {
    /** @param {{model: any, el: HTMLElement}} place */
    async render({ model, el }) {
      const channel = await connect(model).catch(() => null);
      if (channel) return framed(el, channel, view, model.get("options"));
      el.append(still(model, view.title));
      return () => el.replaceChildren();
    },
  };
}

/**
 * How the VM stood when the view was displayed.
 * @param {any} model
 * @param {string} title
 */
function still(model, title) {
  const { png, text } = model.get("still");
  return h(
    "section",
    { class: "kvmdbg-view", "aria-label": title, "data-state": "lost" },
    h("div", { class: "kvmdbg-state" }, STOOD),
    png ? h("img", { src: `data:image/png;base64,${png}`, alt: text }) : h("pre", {}, text),
  );
}
