/**
 * Which assembler's language a cell is written in. Says it from the cell's first line alone, as
 * `%%asm` does (kvmdbg/jupyter/commands.py). Must not know: editors.
 */

export type Dialect = 'intel' | 'att' | 'nasm';

const HEAD = /^\s*%%asm(?![\w.-])/;
const SYNTAX = /\s--syntax(?:\s+|=)["']?(intel|att|nasm)\b/;

/** Whether this line makes its cell an assembly cell. */
export function isHead(line: string): boolean {
  return HEAD.test(line);
}

/** The dialect that a `%%asm` line asks for. */
export function dialectOf(head: string): Dialect {
  return (SYNTAX.exec(head)?.[1] ?? 'intel') as Dialect;
}

/**
 * The number, from 1, of the `%%asm` line, or 0 where the cell is none: IPython takes no notice of
 * empty lines before it.
 */
export function headOf(lines: Iterable<string>): number {
  let number = 0;
  for (const line of lines) {
    number += 1;
    if (line.trim()) {
      return isHead(line) ? number : 0;
    }
  }
  return 0;
}

/** What begins a comment that ends with the line. */
export function commentOf(dialect: Dialect): string {
  return dialect === 'att' ? '#' : ';';
}
