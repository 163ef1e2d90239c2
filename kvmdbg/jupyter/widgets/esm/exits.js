/**
 * The exits of a VM in columns, as they come from the kernel (docs/live-views.md), and for each lane
 * the rows that are in it. Must not know: what is drawn of them, or who sent them.
 */

/** @typedef {{lanes: string[], words: string}} Kind */
/** @typedef {Int32Array | Uint8Array | Float64Array} Column */

const ROOM = 1024;

/**
 * A column with room for `size` rows: the same one, or a longer copy.
 * @template {Column} C
 * @param {C} column
 * @param {number} size
 * @returns {C}
 */
export function roomFor(column, size) {
  if (size <= column.length) return column;
  const longer = new /** @type {any} */ (column.constructor)(Math.max(ROOM, size, column.length * 2));
  longer.set(column);
  return longer;
}

/**
 * The first place in `column[low..high)` whose value is not less than `value`.
 * @param {Column} column sorted
 * @param {number} value
 * @param {number} low
 * @param {number} high
 */
export function lowerBound(column, value, low, high) {
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The exits of one lane: row numbers, in order. */
export class LaneRows {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.rows = new Int32Array(ROOM);
    this.size = 0;
  }

  /** @param {number} row */
  before(row) {
    return lowerBound(this.rows, row, 0, this.size);
  }

  /**
   * How many exits there are from one row up to another.
   * @param {number} first
   * @param {number} end
   */
  between(first, end) {
    return this.before(end) - this.before(first);
  }
}

export class ExitStore {
  epoch = -1;
  code = new Uint8Array(ROOM);
  /** So many rows have a kind. */
  size = 0;
  clock = new Float64Array(ROOM);
  /** So many rows have a clock. */
  clocks = 0;
  /** Whether the clock never falls, so that one can search in it. */
  rising = true;
  /** @type {Kind[]} */
  kinds = [];
  /** @type {Map<string, LaneRows>} */
  lanes = new Map();

  /**
   * What was there is void.
   * @param {number} epoch
   */
  begin(epoch) {
    Object.assign(this, new ExitStore());
    this.epoch = epoch;
  }

  /**
   * Take a message of the kernel's; false if it brought nothing new.
   * @param {{epoch: number, column?: string, from: number, count: number, codes?: Kind[]}} message
   * @param {DataView | ArrayBuffer | undefined} data
   */
  take(message, data) {
    if (!data || message.epoch < this.epoch) return false;
    if (message.epoch > this.epoch) this.begin(message.epoch);
    const clock = message.column === "clock";
    const had = clock ? this.clocks : this.size;
    const skip = had - message.from;
    if (skip < 0 || skip >= message.count) return false;
    if (!clock) this.kinds = message.codes ?? this.kinds;
    if (clock) this.addClocks(clocksIn(data, message.count).subarray(skip));
    else this.addCodes(bytesIn(data, message.count).subarray(skip));
    return true;
  }

  /** @param {Uint8Array} codes */
  addCodes(codes) {
    const end = this.size + codes.length;
    this.code = roomFor(this.code, end);
    this.code.set(codes, this.size);
    const lanes = this.lanesOfCodes(codes);
    for (let place = 0, row = this.size; row < end; place++, row++) {
      const into = lanes[codes[place]];
      for (let n = 0; n < into.length; n++) {
        const lane = into[n];
        lane.rows[lane.size++] = row;
      }
    }
    this.size = end;
  }

  /**
   * The lanes of each code, with room for the new rows.
   * @param {Uint8Array} codes
   */
  lanesOfCodes(codes) {
    const counts = new Int32Array(256);
    for (let place = 0; place < codes.length; place++) counts[codes[place]]++;
    /** @type {LaneRows[][]} */
    const lanes = [];
    /** @type {Map<LaneRows, number>} */
    const more = new Map();
    counts.forEach((count, code) => {
      if (!count) return;
      lanes[code] = this.kind(code).lanes.map((name) => this.lane(name));
      for (const lane of lanes[code]) more.set(lane, (more.get(lane) ?? 0) + count);
    });
    for (const [lane, count] of more) lane.rows = roomFor(lane.rows, lane.size + count);
    return lanes;
  }

  /** @param {string} name */
  lane(name) {
    const found = this.lanes.get(name) ?? new LaneRows(name);
    this.lanes.set(name, found);
    return found;
  }

  /** @param {Float64Array} clocks */
  addClocks(clocks) {
    const end = this.clocks + clocks.length;
    this.clock = roomFor(this.clock, end);
    this.clock.set(clocks, this.clocks);
    for (let row = Math.max(1, this.clocks); row < end && this.rising; row++)
      this.rising = this.clock[row] >= this.clock[row - 1];
    this.clocks = end;
  }

  /**
   * @param {number} code
   * @returns {Kind}
   */
  kind(code) {
    return this.kinds[code] ?? { lanes: ["other"], words: "other" };
  }

  /** @param {number} row */
  kindOf(row) {
    return this.kind(this.code[row]);
  }

  /**
   * The clock of a row; null while it is not known.
   * @param {number} row
   */
  clockOf(row) {
    return row < this.clocks && this.clock[row] >= 0 ? this.clock[row] : null;
  }

  /** Whether all rows have clocks in which one can search. */
  get searchable() {
    return this.size > 0 && this.clocks >= this.size && this.rising && this.clock[0] >= 0;
  }

  /**
   * How many rows have a place on an axis.
   * @param {"exit" | "clock"} axis
   */
  placed(axis) {
    return axis === "exit" ? this.size : Math.min(this.size, this.clocks);
  }

  /**
   * How many exits came up to a clock, that one included.
   * @param {number} clock
   */
  upTo(clock) {
    return lowerBound(this.clock, clock + 0.5, 0, this.size);
  }

  /**
   * The next row in one of these lanes, before or behind a row; null if there is none.
   * @param {Iterable<LaneRows>} lanes
   * @param {number} row
   * @param {1 | -1} way
   */
  neighbour(lanes, row, way) {
    let best = null;
    for (const lane of lanes) {
      const place = way > 0 ? lane.before(row + 1) : lane.before(row) - 1;
      if (place < 0 || place >= lane.size) continue;
      const found = lane.rows[place];
      if (best === null || (found - best) * way < 0) best = found;
    }
    return best;
  }
}

/**
 * @param {DataView | ArrayBuffer} data
 * @param {number} count
 */
function bytesIn(data, count) {
  return data instanceof ArrayBuffer ? new Uint8Array(data, 0, count) : new Uint8Array(data.buffer, data.byteOffset, count);
}

/**
 * @param {DataView | ArrayBuffer} data
 * @param {number} count
 */
function clocksIn(data, count) {
  const start = data instanceof ArrayBuffer ? 0 : data.byteOffset;
  const buffer = data instanceof ArrayBuffer ? data : data.buffer;
  return new Float64Array(start % 8 ? buffer.slice(start, start + 8 * count) : buffer, start % 8 ? 0 : start, count);
}
