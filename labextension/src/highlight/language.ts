/**
 * The language of `%%asm` cells for CodeMirror: GNU's Intel syntax as kvmdbg's assembler reads it,
 * AT&T's, and NASM's. A tokeniser, not a parser: it colours what is being typed too. Must not know:
 * notebooks, kernels.
 */
import { StreamLanguage, StreamParser, StringStream } from '@codemirror/language';

import { Dialect, dialectOf, isHead } from './dialect';
import { TAKES_NAME, isDirective, isPrefix, isRegister, isSize } from './words';

interface State {
  dialect: Dialect;
  /** Whether only empty lines were seen so far: the next may be the `%%asm` line. */
  atHead: boolean;
  /** Inside of a comment that may be longer than its line. */
  inComment: boolean;
  /** What comes next: a label or a mnemonic, or what the statement is about. */
  expects: 'statement' | 'operands';
  /** `times 4 nop`: a statement follows its count, once the count is `done`. */
  times: 'no' | 'count' | 'done';
}

const NAME = /^[A-Za-z_.$?@][\w.$?@~#]*/;
const NUMBER =
  /^(?:0x[\da-f_]+|\d[\da-f_]*h|0b[01_]+|[01][01_]+b|0o[0-7_]+|[0-7_]+[oq]|\d[\d_]*(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w.])/i;
const NEARBY = /^\d+[bf](?!\w)/i;
const LABEL = /^(?:[A-Za-z_.$?@][\w.$?@~#]*|\d+|"[^"]*")[ \t]*:(?!:)/;
const STRING = /^(?:"(?:\\.|[^"\\])*(?:"|$)|'(?:\\.|[^'\\])+(?:'|$)|'(?:\\.|.)?)/;
const NASM_STRING = /^(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|`(?:\\.|[^`\\])*(?:`|$))/;
const SWITCH = /^\.(intel|att)_syntax$/i;

const REGISTER_STYLE = 'variableName.special';
const SIZE_STYLE = 'variableName.standard';

/** A comment from here to the end of the line, or to where it ends. */
function comment(stream: StringStream, state: State): boolean {
  if (state.dialect === 'nasm') {
    return !!stream.match(/^;.*/);
  }
  if (stream.match('/*')) {
    state.inComment = true;
    return true;
  }
  return !!stream.match(state.dialect === 'intel' ? /^(?:[#;]|\/\/).*/ : /^(?:#|\/\/).*/);
}

/** What stands at the beginning of a statement, or null. */
function statement(stream: StringStream, state: State): string | null {
  if (stream.match(LABEL)) {
    return 'labelName';
  }
  if (state.dialect === 'nasm' && stream.match(/^%\w*/)) {
    state.expects = 'operands';
    return 'meta';
  }
  const found = stream.match(NAME) as RegExpMatchArray | null;
  if (!found) {
    return null;
  }
  const word = found[0];
  if (state.dialect !== 'att' && !isDirective(word) && stream.match(TAKES_NAME, false)) {
    return 'labelName';
  }
  if (isPrefix(word)) {
    return 'keyword';
  }
  state.expects = 'operands';
  if (!isDirective(word)) {
    return 'keyword';
  }
  const other = SWITCH.exec(word);
  state.dialect = other ? (other[1].toLowerCase() as Dialect) : state.dialect;
  state.times = word.toLowerCase() === 'times' ? 'count' : 'no';
  return 'meta';
}

/** A number, register, word or name that a statement is about; null where it is none of these. */
function operand(stream: StringStream, state: State): string | null {
  if (stream.match(NUMBER)) {
    return 'number';
  }
  if (stream.match(NEARBY)) {
    return 'labelName';
  }
  if (state.dialect === 'att' && stream.match(/^%[a-z]\w*/i)) {
    return REGISTER_STYLE;
  }
  if (state.dialect === 'att' && stream.match(/^\$(?=[-+~(\w.'])/)) {
    return 'operator';
  }
  if (state.dialect === 'nasm' && stream.match(/^%[%$!+]?\w+/)) {
    return 'meta';
  }
  const found = stream.match(NAME) as RegExpMatchArray | null;
  return found && named(found[0], state.dialect);
}

function named(word: string, dialect: Dialect): string {
  if (dialect !== 'att' && isRegister(word)) {
    return REGISTER_STYLE;
  }
  return dialect !== 'att' && isSize(word) ? SIZE_STYLE : 'variableName';
}

/** Strings, comments, and what a statement is made of. */
function token(stream: StringStream, state: State): string | null {
  if (state.dialect === 'att' && stream.eat(';')) {
    state.expects = 'statement';
    return null;
  }
  if (comment(stream, state)) {
    return 'comment';
  }
  if (state.expects === 'statement') {
    const style = statement(stream, state);
    if (style) {
      return style;
    }
  }
  if (stream.match(state.dialect === 'nasm' ? NASM_STRING : STRING)) {
    return 'string';
  }
  if (state.times === 'done' && stream.match(NAME, false)) {
    state.times = 'no';
    state.expects = 'statement';
    return statement(stream, state);
  }
  const style = operand(stream, state);
  const bracket = style ? null : stream.next();
  if (state.times !== 'no') {
    state.times = style || bracket === ')' || bracket === '$' ? 'done' : 'count';
  }
  return style;
}

/** The `%%asm` line, at the top of a cell. */
function head(stream: StringStream, state: State): string | null {
  if (stream.string.trim()) {
    state.atHead = false;
    if (isHead(stream.string)) {
      state.dialect = dialectOf(stream.string);
      stream.skipToEnd();
      return 'meta';
    }
  }
  return null;
}

export const asmParser: StreamParser<State> = {
  name: 'kvmdbg-asm',
  startState: () => ({
    dialect: 'intel',
    atHead: true,
    inComment: false,
    expects: 'statement',
    times: 'no'
  }),
  token(stream, state) {
    if (stream.sol()) {
      state.expects = 'statement';
      state.times = 'no';
      const style = state.atHead ? head(stream, state) : null;
      if (style) {
        return style;
      }
    }
    if (state.inComment) {
      state.inComment = !stream.match(/^.*?\*\//);
      if (state.inComment) {
        stream.skipToEnd();
      }
      return 'comment';
    }
    return stream.eatSpace() ? null : token(stream, state);
  }
};

export const asmLanguage = StreamLanguage.define(asmParser);
