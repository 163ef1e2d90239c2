/**
 * The exit timeline as a view: in a widget and in JupyterLab's panel. Must not know: how it works.
 */
import { widget } from "./frame.js";
import { TimelineView } from "./timeline_view.js";

/**
 * @param {HTMLElement} root
 * @param {import("./channel.js").Channel} channel
 */
function mountTimeline(root, channel) {
  const view = new TimelineView(root, channel);
  return () => view.end();
}

export const timelineView = { title: "Exit timeline", parts: ["exits"], mount: mountTimeline };
export default widget(timelineView);
