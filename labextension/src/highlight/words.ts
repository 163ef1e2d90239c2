/**
 * The words of x86 assembly that are told apart by name: registers, sizes, directives, prefixes.
 * A mnemonic needs no list: it is the first word of a statement. Must not know: the dialects.
 */

const REGISTER = new RegExp(
  '^(?:' +
    [
      '[re]?(?:ax|bx|cx|dx|si|di|bp|sp|ip)',
      '[abcd][hl]',
      '(?:si|di|bp|sp)l',
      'r(?:8|9|1[0-5])[dwbl]?',
      '[cdefgs]s',
      'cr[0-8]',
      'dr[0-7]',
      'st\\d?',
      'mm[0-7]',
      '[xyz]mm\\d+',
      'k[0-7]',
      '[re]?flags'
    ].join('|') +
    ')$',
  'i'
);

/** Directives without a dot: NASM's and MASM's, which the Intel dialect knows too (program/dialect.py). */
const DIRECTIVE =
  /^(?:d[bwdqtoyz]|res[bwdqtoyz]|times|equ|section|segment|bits|use(?:16|32|64)|org|global|extern|align|alignb|cpu|default|incbin|struc|endstruc|istruc|iend|absolute|common|static)$/i;

/** A name may stand before these without a colon. */
export const TAKES_NAME = /^[ \t]+(?:d[bwdqtoyz]|res[bwdqtoyz]|times|equ)(?![\w.$@?])/i;

const SIZE =
  /^(?:byte|[dfqtoxyz]?word|tbyte|xmmword|ymmword|ptr|offset|short|near|far|rel|abs|seg|strict|nosplit)$/i;

const PREFIX = /^(?:rep|repn?[ez]|lock|(?:data|addr)(?:16|32)|[oa](?:16|32|64)|bnd|xacquire|xrelease)$/i;

export const isRegister = (word: string): boolean => REGISTER.test(word);
export const isDirective = (word: string): boolean => word.startsWith('.') || DIRECTIVE.test(word);
export const isSize = (word: string): boolean => SIZE.test(word);
export const isPrefix = (word: string): boolean => PREFIX.test(word);
