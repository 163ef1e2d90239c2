/**
 * From a cell's lines to the loaded program's addresses and back, and the marks that a snapshot puts
 * beside them. Plain values; the kernel decides, this only counts lines. Must not know: editors, comms.
 */
import { headOf } from './highlight/dialect';

/** The part `listing` of a snapshot (kvmdbg/jupyter/live/parts/listing.py). */
export interface Listing {
  program: { source: string; rows: { line: number; address: string }[] } | null;
  here: number | null;
}

/** A breakpoint as a snapshot tells of it. */
export interface Breakpoint {
  number: number;
  address: string;
  kind: string;
  access: string;
  enabled: boolean;
  words: string;
}

export type Kind = 'set' | 'disabled' | 'watch';

/** A breakpoint beside a line of the cell; lines count from 1, as the editor counts. */
export interface Mark {
  line: number;
  kind: Kind;
  number: number;
  says: string;
}

/** What is known of a cell that holds the loaded program. */
export interface Facts {
  marks: Mark[];
  /** Where all breakpoints are that the VM has, in this program or elsewhere, by number. */
  addresses: Map<number, string>;
  /** The line of the next instruction. */
  here: number | null;
  /** Where the lines with code or data stand, in the order of the lines. */
  places: Place[];
}

export interface Place {
  line: number;
  address: string;
}

/** The facts about a cell, or null where it does not hold the loaded program. */
export function factsOf(lines: string[], snapshot: Record<string, any> | null): Facts | null {
  const listing = snapshot?.parts?.listing as Listing | undefined;
  const head = headOf(lines);
  if (!head || !listing?.program || !sameText(lines.slice(head), listing.program.source)) {
    return null;
  }
  const places = listing.program.rows.map(({ line, address }) => ({ line: line + head, address }));
  const breakpoints = (snapshot?.breakpoints ?? []) as Breakpoint[];
  return {
    places,
    marks: marksOf(places, breakpoints),
    addresses: new Map(breakpoints.map(({ number, address }) => [number, address])),
    here: listing.here === null ? null : listing.here + head
  };
}

/** Blanks around lines and empty lines at the end make no other program. */
function sameText(lines: string[], source: string): boolean {
  const plain = (text: string[]) => text.map(line => line.trim()).join('\n').trimEnd();
  return source !== '' && plain(lines) === plain(source.split(/\r\n|\r|\n/));
}

function marksOf(places: Place[], breakpoints: Breakpoint[]): Mark[] {
  return breakpoints.flatMap(({ number, address, access, enabled, words }) => {
    const line = lineAt(places, address);
    const kind: Kind = access !== 'x' ? 'watch' : enabled ? 'set' : 'disabled';
    return line === null ? [] : [{ line, kind, number, says: words }];
  });
}

/** The line whose bytes hold an address; of the last line only the first byte is known. */
function lineAt(places: Place[], address: string): number | null {
  const wanted = number(address);
  if (wanted === null) {
    return null;
  }
  const sorted = places
    .map(place => ({ line: place.line, at: number(place.address) ?? -1n }))
    .sort((one, other) => (one.at < other.at ? -1 : 1));
  const after = sorted.findIndex(place => place.at > wanted);
  const found = sorted[(after < 0 ? sorted.length : after) - 1];
  return found && (after >= 0 || found.at === wanted) ? found.line : null;
}

/** A vector's breakpoint has no address. */
function number(address: string): bigint | null {
  return /^0x[\da-f]+$/i.test(address) ? BigInt(address) : null;
}

/** Where a breakpoint for this line goes: the line's own place, or that of the next that has one. */
export function placeFor(places: Place[], line: number): Place | null {
  return places.find(place => place.line >= line) ?? null;
}

/** A breakpoint that a cell wants: beside `line`; `number` if the VM has had it before an edit. */
export interface Wanted {
  line: number;
  number: number | null;
}

/** What is to be asked of the VM so that it has the breakpoints that a cell wants. */
export type Request = { action: 'delete'; number: number } | { action: 'set'; where: string };

/**
 * A cell that was edited has been run: its breakpoints move with their lines. What the VM has at a
 * wanted place is left alone; what it has at a line's old place goes.
 */
export function requestsFor(facts: Facts, wanted: Wanted[]): Request[] {
  const places = new Set(wanted.flatMap(({ line }) => placeFor(facts.places, line)?.address ?? []));
  const there = new Set(facts.addresses.values());
  const stale = wanted.flatMap(({ number }) => {
    const address = number === null ? undefined : facts.addresses.get(number);
    return number === null || address === undefined || places.has(address) ? [] : [number];
  });
  return [
    ...stale.map(number => ({ action: 'delete' as const, number })),
    ...[...places]
      .filter(address => !there.has(address))
      .map(where => ({ action: 'set' as const, where }))
  ];
}
