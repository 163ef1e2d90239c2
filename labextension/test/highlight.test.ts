// @vitest-environment node
/** What the tokeniser of `%%asm` cells calls each piece of a line, in three dialects. */
import { StringStream } from '@codemirror/language';
import { describe, expect, it } from 'vitest';

import { dialectOf, headOf } from '../src/highlight/dialect';
import { asmParser } from '../src/highlight/language';

/** The pieces of a text that have a style, as `[style, text]`. */
function pieces(text: string): [string, string][] {
  const state = asmParser.startState!(4);
  return text.split('\n').flatMap(line => {
    const stream = new StringStream(line, 4, 4);
    const found: [string, string][] = [];
    while (!stream.eol()) {
      const style = asmParser.token(stream, state);
      if (stream.pos === stream.start) {
        throw new Error(`no progress in "${line}" at ${stream.pos}`);
      }
      if (style) {
        found.push([style, stream.current()]);
      }
      stream.start = stream.pos;
    }
    return found;
  });
}

const intel = (line: string) => pieces('%%asm\n' + line).slice(1);
const att = (line: string) => pieces('%%asm --syntax att\n' + line).slice(1);
const nasm = (line: string) => pieces('%%asm boot --syntax nasm\n' + line).slice(1);
const REG = 'variableName.special';
const SIZE = 'variableName.standard';

describe('the head', () => {
  it('is one piece, whatever its options are', () => {
    expect(pieces('%%asm demo --mode real')).toEqual([['meta', '%%asm demo --mode real']]);
  });
  it('is found below empty lines', () => {
    expect(headOf(['', '  ', '%%asm'])).toBe(3);
  });
  it('is not found below anything else', () => {
    expect(headOf(['x = 1', '%%asm'])).toBe(0);
  });
  it('is not another magic that begins alike', () => {
    expect(headOf(['%%asmx'])).toBe(0);
  });
  it.each([
    ['%%asm', 'intel'],
    ['%%asm demo --syntax att --mode real', 'att'],
    ['%%asm --syntax=nasm', 'nasm'],
    ['%%asm --mode real', 'intel']
  ])('%s asks for %s', (line, dialect) => {
    expect(dialectOf(line)).toBe(dialect);
  });
});

describe('Intel syntax', () => {
  it('tells a mnemonic, a register and a number apart', () => {
    expect(intel('mov eax, 5')).toEqual([['keyword', 'mov'], [REG, 'eax'], ['number', '5']]);
  });
  it('knows labels before a mnemonic and as an operand', () => {
    expect(intel('loop: dec ecx\njnz loop')).toEqual([
      ['labelName', 'loop:'],
      ['keyword', 'dec'],
      [REG, 'ecx'],
      ['keyword', 'jnz'],
      ['variableName', 'loop']
    ]);
  });
  it.each(['0x7c00', '7C00h', '0b1010', '1010b', '0o17', '17q', '510', '1.5e3', '0FFh', '1_000'])(
    'takes %s for a number',
    number => expect(intel(`mov eax, ${number}`).at(-1)).toEqual(['number', number])
  );
  it.each(['1b', '1f', '0b'])('takes %s for a nearby label', label => {
    expect(intel(`jmp ${label}`).at(-1)).toEqual(['labelName', label]);
  });
  it.each(['; text', '# text', '// text'])('takes "%s" for a comment', text => {
    expect(intel(`nop ${text}`)).toEqual([['keyword', 'nop'], ['comment', text]]);
  });
  it('follows a comment over lines', () => {
    expect(intel('nop /* one\ntwo */ hlt')).toEqual([
      ['keyword', 'nop'],
      ['comment', '/*'],
      ['comment', ' one'],
      ['comment', 'two */'],
      ['keyword', 'hlt']
    ]);
  });
  it('takes a comment sign inside of a string for text', () => {
    expect(intel('.ascii "a;b # c"')).toEqual([['meta', '.ascii'], ['string', '"a;b # c"']]);
  });
  it('ends a string that was not closed with its line', () => {
    expect(intel('.ascii "open\nnop').at(-1)).toEqual(['keyword', 'nop']);
  });
  it('knows sizes, segments and control registers', () => {
    expect(intel('mov dword ptr fs:[ebx], cr0').map(([style]) => style)).toEqual([
      'keyword', SIZE, SIZE, REG, REG, REG
    ]);
  });
  it("knows NASM's everyday directives, with a name before them", () => {
    expect(intel("text db 'hi', 0")).toEqual([
      ['labelName', 'text'],
      ['meta', 'db'],
      ['string', "'hi'"],
      ['number', '0']
    ]);
  });
  it('lets a statement follow the count of TIMES', () => {
    expect(intel('times 510-($-$$) db 0').filter(([style]) => style === 'meta')).toEqual([
      ['meta', 'times'],
      ['meta', 'db']
    ]);
    expect(intel('times 4 nop')).toEqual([['meta', 'times'], ['number', '4'], ['keyword', 'nop']]);
  });
  it('takes what follows a prefix for the mnemonic', () => {
    expect(intel('rep movsb').map(([style]) => style)).toEqual(['keyword', 'keyword']);
  });
  it("changes to AT&T's where the text says so, and back", () => {
    const text = '.att_syntax\nmov %eax, %ebx\n.intel_syntax noprefix\nmov eax, 1';
    expect(intel(text).filter(([style]) => style === REG).map(([, word]) => word)).toEqual([
      '%eax', '%ebx', 'eax'
    ]);
  });
});

describe("AT&T's syntax", () => {
  it('knows registers by their sign and immediates by theirs', () => {
    expect(att('movl $5, %eax')).toEqual([
      ['keyword', 'movl'],
      ['operator', '$'],
      ['number', '5'],
      [REG, '%eax']
    ]);
  });
  it('takes a bare register name for a label', () => {
    expect(att('jmp eax').at(-1)).toEqual(['variableName', 'eax']);
  });
  it('separates statements at a semicolon', () => {
    expect(att('nop; hlt # end')).toEqual([
      ['keyword', 'nop'],
      ['keyword', 'hlt'],
      ['comment', '# end']
    ]);
  });
  it('knows both registers of an address', () => {
    expect(att('lea 8(%rbx,%rcx,4), %rax').filter(([style]) => style === REG)).toHaveLength(3);
  });
});

describe("NASM's syntax", () => {
  it('only takes a semicolon for a comment', () => {
    expect(nasm('nop ; text').at(-1)).toEqual(['comment', '; text']);
    expect(nasm('nop # text').some(([style]) => style === 'comment')).toBe(false);
  });
  it('knows the preprocessor and its parameters', () => {
    expect(nasm('%macro put 1\nmov al, %1').filter(([style]) => style === 'meta')).toEqual([
      ['meta', '%macro'],
      ['meta', '%1']
    ]);
  });
  it('knows local labels', () => {
    expect(nasm('.next: jmp .next')).toEqual([
      ['labelName', '.next:'],
      ['keyword', 'jmp'],
      ['variableName', '.next']
    ]);
  });
  it('has no escapes in single quotes', () => {
    expect(nasm("db 'a\\', 13")).toEqual([['meta', 'db'], ['string', "'a\\'"], ['number', '13']]);
  });
  it('reads constants', () => {
    expect(nasm('size equ 16')).toEqual([['labelName', 'size'], ['meta', 'equ'], ['number', '16']]);
  });
});
