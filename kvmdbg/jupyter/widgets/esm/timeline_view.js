/**
 * The exit timeline's elements and what they do: gestures and keys go to the model, questions to the
 * kernel, and each change is drawn once a frame. Must not know: how a mark is drawn, or how rows come.
 */
import { atMostEvery, perFrame, put, putAttribute } from "./dom.js";
import { ExitStore } from "./exits.js";
import { onTheme, themeOf } from "./theme.js";
import { ExitBox } from "./timeline_box.js";
import { OVERVIEW_HEIGHT, timelineElements } from "./timeline_elements.js";
import { ExitFeed } from "./timeline_feed.js";
import { keyMeaning, listenToPointers, listenToStrip } from "./timeline_input.js";
import { TimelineBookmarks, placeAt } from "./timeline_bookmarks.js";
import { TimelineModel } from "./timeline_model.js";
import { exitTable, laneNames, laneTable, rangeWords, selectionBar, selectionWords } from "./timeline_panels.js";
import { AXIS_HEIGHT, LANE_HEIGHT, paintOverview, paintTimeline } from "./timeline_picture.js";
import { counted, grouped, pixelOf, placeOf, rowAt } from "./timeline_scale.js";

/** @typedef {import("./channel.js").Channel} Channel */

const PAINTED = "kvmdbg:timeline:painted";
const TABLES = 250; // ms between two tables: to make one takes longer than all else in a frame

export class TimelineView {
  /**
   * @param {HTMLElement} root
   * @param {Channel} channel
   */
  constructor(root, channel) {
    this.root = root;
    this.channel = channel;
    this.redraw = perFrame(() => this.paint());
    this.tables = atMostEvery(TABLES, () => this.fillTables());
    this.store = new ExitStore();
    this.model = new TimelineModel(this.store, () => this.redraw());
    this.parts = timelineElements(`kvmdbg-tl-${Math.random().toString(36).slice(2)}`, {
      act: (name) => this.act(name),
      axis: (axis) => this.setAxis(axis),
      follow: () => this.act("follow"),
      tables: () => this.openTables(),
      named: (event) => void this.bookmarks.set(event),
    });
    root.classList.add("kvmdbg-tl");
    root.append(...this.parts.children);
    this.theme = themeOf(root);
    this.box = new ExitBox(this.parts.box, channel, this.store, (text) => this.parts.says.say(text));
    /** Whether the axis shall be the clock as soon as the clocks are there. */
    this.wanted = false;
    this.open = false;
    this.frames = 0;
    this.width = 0;
    this.stale = true;
    this.named = "";
    this.tabled = "";
    this.selected = "";
    this.bookmarks = new TimelineBookmarks(channel, this.parts, this.store, this.model, (name) => void this.goto({ name }));
    this.endings = this.listen();
    this.feed = new ExitFeed(channel, this.store, () => this.came());
    this.feed.start();
  }

  end() {
    this.box.hide();
    this.feed.end();
    this.endings.forEach((end) => end());
    this.root.replaceChildren();
  }

  listen() {
    const { model, parts } = this;
    listenToPointers(parts.plot, {
      hover: (x, y) => this.hover(x, y),
      leave: () => this.box.hide(),
      click: (x, y) => this.click(x, y),
      pan: (pixels) => this.move(() => model.pan(pixels / this.width)),
      zoom: (factor, x) => this.move(() => model.zoom(factor, x / this.width)),
      brush: (from, to) => this.select(() => model.brush(from / this.width, to / this.width)),
    });
    const at = (/** @type {number} */ part) => model.all.from + part * (model.all.to - model.all.from);
    listenToStrip(
      parts.overview,
      (part) => at(part) >= model.span.from && at(part) <= model.span.to,
      (part) => this.move(() => model.pan(pixelOf(model.span, 1, at(part)) - 0.5)),
      (part) => this.move(() => model.pan((part * (model.all.to - model.all.from)) / (model.span.to - model.span.from))),
    );
    parts.plot.addEventListener("keydown", (event) => {
      const meant = keyMeaning(event);
      if (!meant) return;
      event.preventDefault();
      event.stopPropagation();
      this.act(meant.name, meant.selecting);
    });
    const size = new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width; // as it was laid out last: a theme that loads has no widths
      this.renew();
    });
    size.observe(parts.plot);
    return [() => size.disconnect(), onTheme(() => this.renew())];
  }

  /** Rows have come, or the present is another one. */
  came() {
    const { model, store, channel } = this;
    const marks = this.bookmarks.known.length > 0;
    if (marks || model.axis === "clock" || model.selection || this.open) this.feed.needClocks();
    if (model.epoch !== store.epoch) this.box.hide();
    if (this.wanted && store.searchable) this.turn("clock");
    else if ((this.wanted || model.axis === "clock") && !store.rising) this.noClock();
    model.update(this.feed.part, this.clock);
    if (channel.says === this.parts.says.element.textContent) this.parts.says.say(""); // the frame says it
    this.stale = true;
    this.redraw();
  }

  get clock() {
    return this.feed.part.here === this.store.size && this.channel.state === "running"
      ? (this.store.clockOf(this.store.size - 1) ?? 0)
      : (this.channel.snapshot?.clock ?? -1);
  }

  /** Another size or theme. Asking for colours makes the browser work out all styles. */
  renew() {
    this.theme = themeOf(this.root);
    this.stale = true;
    this.redraw();
  }

  // Gestures

  /**
   * @param {number} x
   * @param {number} y
   */
  hit(x, y) {
    const name = this.model.lanes[Math.floor(y / LANE_HEIGHT)];
    const row = name === undefined ? null : this.model.hit(name, x, this.width);
    return row === null ? null : { row, name };
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  hover(x, y) {
    const found = this.hit(x, y);
    this.parts.plot.style.cursor = found ? "pointer" : "grab";
    if (!found) this.box.hide();
    else if (found.row !== this.box.row) this.point(found.row, found.name, false);
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  click(x, y) {
    this.parts.plot.focus();
    const found = this.hit(x, y);
    if (!found) return;
    this.model.lane = found.name;
    this.model.putCursor(found.row, false);
    void this.travel(found.row);
  }

  /**
   * Show the box beside an exit.
   * @param {number} row
   * @param {string} lane
   * @param {boolean} spoken
   */
  point(row, lane, spoken) {
    const x = pixelOf(this.model.span, this.width, placeOf(this.store, this.model.axis, row));
    const y = (this.model.lanes.indexOf(lane) + 1) * LANE_HEIGHT + 2;
    this.box.show(row, { x, y, width: this.width }, spoken);
  }

  /** @param {() => void} change of the window */
  move(change) {
    this.box.hide();
    change();
  }

  /** @param {() => void} change of the selection */
  select(change) {
    change();
    if (this.model.selection) this.feed.needClocks();
  }

  // Keys and buttons

  /**
   * @param {string} name one of KEYS
   * @param {boolean} [selecting]
   */
  act(name, selecting = false) {
    const { model } = this;
    /** @type {Record<string, () => void>} */
    const acts = {
      next: () => this.go(model.next(1, false), selecting, "no exit behind this one"),
      previous: () => this.go(model.next(-1, false), selecting, "no exit before this one"),
      "next-in-lane": () => this.go(model.next(1, true), selecting, "no exit behind this one in the lane"),
      "previous-in-lane": () => this.go(model.next(-1, true), selecting, "no exit before this one in the lane"),
      first: () => this.go(model.outermost(1), selecting, "no exits"),
      last: () => this.go(model.outermost(-1), selecting, "no exits"),
      "lane-up": () => this.goLane(-1),
      "lane-down": () => this.goLane(1),
      "pan-left": () => this.move(() => model.pan(-0.8)),
      "pan-right": () => this.move(() => model.pan(0.8)),
      nearer: () => this.move(() => model.zoom(0.5)),
      farther: () => this.move(() => model.zoom(2)),
      all: () => this.move(() => model.see(model.all)),
      travel: () => model.cursor !== null && void this.travel(model.cursor),
      bookmark: () => this.bookmarks.ask(`exit-${Math.max(0, this.feed.part.here - 1)}`),
      follow: () => this.move(() => model.follow(!model.following)),
      clear: () => this.move(() => model.select(null)),
    };
    acts[name]?.();
  }

  /**
   * @param {number | null} row
   * @param {boolean} selecting
   * @param {string} otherwise
   */
  go(row, selecting, otherwise) {
    if (row === null) return this.parts.says.say(otherwise);
    this.select(() => this.model.putCursor(row, selecting));
    this.point(row, this.model.lane ?? "", !selecting);
    if (selecting) this.parts.says.say(selectionWords(this.store, this.model));
  }

  /** @param {1 | -1} way */
  goLane(way) {
    const row = this.model.nextLane(way);
    if (row === null || this.model.lane === null) return;
    const { lane } = this.model;
    this.model.putCursor(row, false);
    this.point(row, lane, true);
    this.parts.says.say(`lane ${lane}, ${counted(this.store.lane(lane).size, "exit")}`);
  }

  /** @param {string} axis */
  setAxis(axis) {
    this.wanted = axis === "clock";
    if (!this.wanted) this.turn("exit");
    else if (!this.feed.part.has_clock || !this.store.rising) this.noClock();
    else if (this.store.searchable) this.turn("clock");
    else {
      this.parts.says.say("fetching the clocks");
      this.feed.needClocks();
    }
  }

  /** @param {import("./timeline_scale.js").Axis} axis */
  turn(axis) {
    this.wanted = false;
    this.box.hide();
    this.model.turn(axis, this.feed.part, this.clock);
    this.parts.says.say(axis === "clock" ? "by clock, in guest instructions" : "by exit number");
    this.renew();
  }

  noClock() {
    this.turn("exit");
    const why = this.feed.part.has_clock ? "the clock of these exits goes back" : "this engine counts no instructions";
    this.parts.says.say(`${why}: exits are shown by their number`);
  }

  openTables() {
    this.open = !this.open;
    this.parts.tableButton.setAttribute("aria-expanded", String(this.open));
    this.parts.behind.classList.toggle("kvmdbg-spoken", !this.open);
    for (const [region, name] of [[this.parts.lanesBehind, "counts by lane"], [this.parts.exitsBehind, "exits"]])
      scrollable(/** @type {HTMLElement} */ (region), String(name), this.open);
    if (this.open) this.feed.needClocks();
    this.renew();
  }

  /**
   * @param {string} name
   * @param {boolean} on
   */
  showLane(name, on) {
    this.model.show(name, on);
    this.parts.says.say(`${name} ${on ? "shown" : "hidden"}`);
    this.renew();
  }

  /** @param {string} query */
  async copy(query) {
    const copied = await navigator.clipboard?.writeText(query).then(
      () => true,
      () => false,
    );
    this.parts.says.say(copied ? `copied: ${query}` : `this page may not copy; write ${query}`);
  }

  // What the kernel does

  /** @param {number} row */
  async travel(row) {
    this.box.spoken = false; // what comes of it is said instead
    this.parts.says.say(`going to exit ${grouped(row)}`);
    await this.goto({ exit: row, epoch: this.store.epoch });
  }

  /** @param {Record<string, any>} where */
  async goto(where) {
    const answer = await this.channel.ask("do", { action: "goto", ...where });
    this.parts.says.say(answer.says === this.channel.says ? "" : answer.says);
  }

  // A frame

  paint() {
    const { parts, store, model, theme, width } = this;
    if (!this.root.isConnected || width < 1) return;
    const began = performance.now();
    if (this.stale) {
      this.placeNames();
      this.bookmarks.renew();
      parts.canvas.style.height = `${model.lanes.length * LANE_HEIGHT + AXIS_HEIGHT}px`;
      paintOverview(parts.strip, width, OVERVIEW_HEIGHT, store, model, theme);
    }
    paintTimeline(parts.canvas, width, store, model, theme);
    this.placeElements();
    this.fillSelection();
    if (this.tabled !== this.toTable) {
      this.told.dataset.tables = "late";
      this.tables();
    }
    this.stale = false;
    this.tellTests(performance.now() - began);
  }

  /** The lanes' names, made anew only where they are others; their counts. */
  placeNames() {
    const { names } = this.parts;
    const now = [...this.model.lanes, "", ...this.model.hidden, ...this.theme.lanes].join("|");
    if (now !== this.named) this.makeNames();
    this.named = now;
    for (const label of names.querySelectorAll("label")) {
      const count = label.querySelector(".kvmdbg-tl-count");
      if (count) put(count, grouped(this.store.lane(label.dataset.lane ?? "").size));
    }
  }

  makeNames() {
    const { names } = this.parts;
    const focused = /** @type {HTMLElement | null} */ (names.contains(document.activeElement) ? (document.activeElement?.closest("label") ?? null) : null);
    names.replaceChildren(...laneNames(this.model, this.theme, (name, on) => this.showLane(name, on)));
    if (!focused) return;
    for (const label of names.querySelectorAll("label")) if (label.dataset.lane === focused.dataset.lane) label.querySelector("input")?.focus();
  }

  /** What is not on the canvas but moves with it. */
  placeElements() {
    const { model, store, width, parts } = this;
    const x = (/** @type {number} */ at) => pixelOf(model.span, width, at);
    const here = x(model.here);
    placeAt(parts.nowLabel, here < 0 || here > width ? -1 : Math.min(Math.max(here, 12), width - 12), width, store.size > 0);
    placeAt(parts.aheadLabel, Math.max(0, here + 24), width - 110, model.ahead);
    this.bookmarks.place(width);
    const [left, right] = [pixelOf(model.all, 100, model.span.from), pixelOf(model.all, 100, model.span.to)];
    parts.frame.style.left = `${left}%`;
    parts.frame.style.width = `${Math.max(right - left, 0.4)}%`;
    putAttribute(parts.followButton, "aria-pressed", String(model.following));
    parts.axisChoice.value = this.wanted ? "clock" : model.axis;
    put(parts.summary, this.summary());
  }

  summary() {
    const { store, model } = this;
    if (!store.size) return "No exits yet";
    const first = Math.min(rowAt(store, model.axis, model.span.from), store.size - 1);
    const end = Math.max(first + 1, rowAt(store, model.axis, model.span.to));
    return `${counted(store.size, "exit")}; seen: ${model.whole ? "all" : rangeWords(first, end)}`;
  }

  /** What the tables are about; where it is another, they are made anew. */
  get toTable() {
    const { store, model, open } = this;
    return [store.epoch, store.size, store.clocks, open, this.feed.part.told_from, ...(model.selection ?? [0, 0]), ...model.hidden].join();
  }

  /** Nobody reads tables sixty times a second: they come behind the picture. */
  fillTables() {
    const { store, model, open, parts } = this;
    this.tabled = this.toTable;
    this.told.dataset.tables = "ready";
    const unknown = Math.min(this.feed.part.told_from, store.size);
    parts.lanesBehind.replaceChildren(laneTable(store, model, unknown));
    parts.exitsBehind.replaceChildren(exitTable(store, model, open ? (row) => void this.travel(row) : null));
  }

  /** The selection in words, where it is another one. */
  fillSelection() {
    const { store, model, parts } = this;
    const now = [store.epoch, store.clocks, ...(model.selection ?? [])].join();
    if (now === this.selected) return;
    this.selected = now;
    const bar = selectionBar(store, model, {
      zoom: () => this.move(() => model.zoomToSelection()),
      copy: (query) => void this.copy(query),
      clear: () => this.act("clear"),
    });
    parts.selected.replaceChildren(...bar);
  }

  /** The element that tells tests what is shown. */
  get told() {
    return /** @type {HTMLElement} */ (this.root.closest(".kvmdbg-view") ?? this.root);
  }

  /**
   * What browser tests and benchmarks read.
   * @param {number} ms that the frame took
   */
  tellTests(ms) {
    const { store, model } = this;
    const root = this.told;
    this.frames++;
    const told = { total: store.size, lanes: model.lanes.join("|"), from: model.span.from, to: model.span.to, frames: this.frames };
    for (const [name, value] of Object.entries(told)) root.dataset[name] = String(value);
    performance.clearMarks(PAINTED);
    performance.mark(PAINTED);
    root.dispatchEvent(new CustomEvent("kvmdbg-painted", { bubbles: true, detail: { frames: this.frames, ms } }));
  }
}

/**
 * What may be too wide can be scrolled by keys, where it is seen.
 * @param {HTMLElement} region
 * @param {string} name
 * @param {boolean} on
 */
function scrollable(region, name, on) {
  for (const [attribute, value] of Object.entries({ tabindex: "0", role: "region", "aria-label": name })) {
    if (on) region.setAttribute(attribute, value);
    else region.removeAttribute(attribute);
  }
}
