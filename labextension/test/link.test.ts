// @vitest-environment node
/** How a notebook's link finds its VM, and finds it again. */
import { describe, expect, it, vi } from 'vitest';

import { Link } from '../src/link';
import { FakeKernel, FakeSession, settled } from './kernel';

async function linked(kernel: FakeKernel | null = new FakeKernel()) {
  const session = new FakeSession(kernel);
  const link = new Link(session);
  await settled();
  return { link, session, kernel: kernel as FakeKernel };
}

/** A link that has seen a snapshot. */
async function live() {
  const made = await linked();
  made.kernel.snapshot();
  return made;
}

describe('a link', () => {
  it('knows that there is no kernel', async () => {
    expect((await linked(null)).link.presence).toBe('none');
  });

  it('opens the comm that pushes before the one that controls', async () => {
    const { kernel } = await linked();
    expect(kernel.opened).toEqual(['kvmdbg', 'kvmdbg.control']);
  });

  it('says hello on the comm that controls, and nothing on the other', async () => {
    const [push, control] = (await linked()).kernel.pair;
    expect(control.sent[0]).toMatchObject({ v: 1, op: 'hello' });
    expect(push.sent).toEqual([]);
  });

  it('has no channel before the kernel has said something', async () => {
    const { link } = await linked();
    expect([link.channel, link.presence]).toEqual([null, 'absent']);
  });

  it('has a channel after the first snapshot, and tells so', async () => {
    const { link, kernel } = await linked();
    const changed = vi.fn();
    link.changed.connect(changed);
    kernel.snapshot({ pc: 1 });
    expect(link.live?.snapshot).toMatchObject({ pc: 1 });
    expect(changed).toHaveBeenCalled();
  });

  it('does not ask a kernel of another language', async () => {
    expect((await linked(new FakeKernel('R'))).kernel.comms).toEqual([]);
  });

  it('waits for a cell that speaks of kvmdbg when it was refused', async () => {
    const { kernel } = await linked();
    kernel.refuse();
    await kernel.execute('1 + 1');
    expect(kernel.pairs).toBe(1);
    await kernel.execute('%load_ext kvmdbg');
    expect(kernel.pairs).toBe(2);
  });

  it.each(['%vm', '%%asm\nnop', '%step 3', 'x = 1\n%bp loop', 'import kvmdbg'])(
    'takes %j for such a cell',
    async code => {
      const { kernel } = await linked();
      kernel.refuse();
      await kernel.execute(code);
      expect(kernel.pairs).toBe(2);
    }
  );

  it('does not try while that cell runs, though another message ends', async () => {
    const { kernel } = await linked();
    kernel.refuse();
    kernel.iopub('execute_input', { code: '%load_ext kvmdbg' }, 'one');
    kernel.iopub('status', { execution_state: 'idle' }, 'another');
    expect(kernel.pairs).toBe(1);
  });

  it('does not open more comms while it has a line', async () => {
    const { kernel } = await live();
    await kernel.execute('%load_ext kvmdbg');
    expect(kernel.pairs).toBe(1);
  });

  it('keeps the last picture when the kernel restarts, and then finds the next VM', async () => {
    const { link, kernel } = await live();
    const before = link.channel;
    kernel.statusChanged.emit('restarting');
    expect([link.channel, link.live, link.presence]).toEqual([before, null, 'absent']);
    expect(before?.state).toBe('lost');
    kernel.statusChanged.emit('idle');
    await settled();
    kernel.snapshot();
    expect(link.channel).not.toBe(before);
    expect(link.live).toBe(link.channel);
  });

  it('closes no comm of a kernel that is gone', async () => {
    const { kernel } = await live();
    kernel.statusChanged.emit('restarting');
    await settled();
    expect(kernel.comms.map(comm => comm.did)).toEqual([['open'], ['open']]);
  });

  it('does not try a dead kernel', async () => {
    const { kernel } = await live();
    kernel.statusChanged.emit('dead');
    kernel.statusChanged.emit('idle');
    expect(kernel.pairs).toBe(1);
  });

  it('loses its channel when the kernel closes a comm, as %reload_ext does', async () => {
    const { link, kernel } = await live();
    kernel.pair[0].onClose({});
    expect(link.channel?.state).toBe('lost');
    await kernel.execute('%reload_ext kvmdbg');
    expect(kernel.pairs).toBe(2);
  });

  it('leaves a kernel for another: closes both comms, forgets what it has seen', async () => {
    const { link, session, kernel } = await live();
    session.change(new FakeKernel());
    await settled();
    expect(kernel.comms.map(comm => comm.did)).toEqual([['open', 'close'], ['open', 'close']]);
    expect(link.channel).toBeNull();
  });

  it('hears nothing of the kernel that it left', async () => {
    const { link, session, kernel } = await live();
    const [push] = kernel.pair;
    session.change(new FakeKernel());
    push.hear({ v: 1, op: 'snapshot', says: 'old' });
    expect(link.channel).toBeNull();
  });

  it('greets again when the page was cut off from the server', async () => {
    const { kernel } = await live();
    const [, control] = kernel.pair;
    const before = control.sent.length;
    kernel.connectionStatusChanged.emit('connected');
    await settled();
    expect(control.sent.slice(before).map(message => message.op)).toEqual(['hello']);
  });

  it('says goodbye when its notebook is closed, and then closes its comms', async () => {
    const { link, kernel } = await live();
    link.dispose();
    await settled();
    expect(kernel.pair[1].sent.at(-1)).toMatchObject({ op: 'bye' });
    expect(kernel.comms.every(comm => comm.did.includes('close'))).toBe(true);
  });
});

describe('a line', () => {
  it('hands buffers on as views', async () => {
    const { link, kernel } = await live();
    const heard = vi.fn();
    link.channel?.on('exits', (_message, buffers) => heard(buffers[0].getUint8(1)));
    kernel.pair[0].hear({ v: 1, op: 'exits' }, [new Uint8Array([7, 9]).buffer]);
    expect(heard).toHaveBeenCalledWith(9);
  });
});
