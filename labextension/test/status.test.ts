// @vitest-environment node
/** What the status bar says. */
import { describe, expect, it } from 'vitest';

import { placeText, statusText } from '../src/status';

const snapshot = {
  state: 'stopped',
  engine: 'unicorn',
  mode: 'long mode, 64-bit code',
  pc: { address: '0x8003', label: 'loop' }
};
const channel = (fields: object) => ({ snapshot, state: 'live', says: '', ...fields }) as any;

describe('the status bar', () => {
  it('names engine, mode and place', () => {
    expect(statusText(channel({}))).toBe('unicorn · long mode, 64-bit code · loop (0x8003)');
  });
  it('says nothing without a channel, or before the first snapshot', () => {
    expect([statusText(null), statusText(channel({ snapshot: null }))]).toEqual(['', '']);
  });
  it('gives no old place while the guest runs', () => {
    expect(statusText(channel({ state: 'running' }))).toBe('unicorn · running');
  });
  it.each(['closed', 'lost'])('has no VM when the channel is %s', state => {
    expect(statusText(channel({ state }))).toBe('no VM');
  });
  it('has no VM when the kernel has none', () => {
    expect(statusText(channel({ snapshot: { state: 'none' } }))).toBe('no VM');
  });
});

describe('a place', () => {
  it('is named once where it has no label', () => {
    expect(placeText({ address: '0x8003', label: '0x8003' })).toBe('0x8003');
  });
  it('is empty where there is none', () => {
    expect(placeText(null)).toBe('');
  });
});
