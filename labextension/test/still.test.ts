// A saved view: live where the kernel has its model, else its still; with notebooks and kernels that are played.
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';
import { describe, expect, test, vi } from 'vitest';

import { Channel } from '../../kvmdbg/jupyter/widgets/esm/channel.js';
import { STOOD, widget } from '../../kvmdbg/jupyter/widgets/esm/frame.js';
import { LiveOrStill, VIEW, WIDGET } from '../src/still';

// jsdom has no drag and drop, which Lumino's widgets ask for when they are imported.
vi.hoisted(() => void (globalThis.DragEvent ??= class extends MouseEvent {} as typeof DragEvent));

const TWIN = { 'text/html': '<p>rax 1</p>', 'text/plain': 'rax 1' };
const DATA = { [WIDGET]: { model_id: 'm1' }, ...TWIN, [VIEW]: { v: 1, kind: 'machine' } };

class Context {
  kernelChanged = new Signal<any, any>(this);
  session: any = null;

  /** A kernel with these models; the page itself has those of `here`. */
  kernel(models: string[], here: string[] = []): object {
    const comms = Object.fromEntries(models.map(id => [id, {}]));
    const kernel = {
      hasComm: (id: string) => here.includes(id),
      requestCommInfo: async () => ({ content: { comms } })
    };
    this.session = { kernel };
    return kernel;
  }
}

/** A notebook's renderers: each shows which type it was asked for. */
function rendered(context: Context, trusted = true, data: object = DATA) {
  const asked: string[] = [];
  const rendermime: any = {
    preferredMimeType: (bundle: object, safe: string) => {
      asked.push(`${safe} of ${Object.keys(bundle).join(' ')}`);
      return 'text/html' in bundle ? 'text/html' : undefined;
    },
    createModel: (options: object) => options,
    createRenderer: (mime: string) => {
      const made = new Widget() as any;
      made.renderModel = async (model: any) => {
        made.node.textContent = `${mime}, trusted ${model.trusted}`;
        if (mime === WIDGET) model.data[WIDGET].model_id = '';
      };
      return made;
    }
  };
  const view = new LiveOrStill(rendermime, context as any);
  return { view, asked, done: view.renderModel({ data, metadata: {}, trusted } as any) };
}

const settled = () => new Promise(resolve => setTimeout(resolve));

describe('a saved view', () => {
  test('is the widget where the page has its model', async () => {
    const context = new Context();
    context.kernel([], ['m1']);
    const { view, done } = rendered(context);
    await done;
    expect(view.node.textContent).toBe(`${WIDGET}, trusted true`);
  });

  test('is the widget where the kernel has its model', async () => {
    const context = new Context();
    context.kernel(['m1']);
    const { view, done } = rendered(context);
    await done;
    expect(view.node.textContent).toBe(`${WIDGET}, trusted true`);
  });

  test('keeps the name of its model, whatever becomes of the widget', async () => {
    const context = new Context();
    context.kernel(['m1']);
    const data = structuredClone(DATA);
    await rendered(context, true, data).done;
    expect(data[WIDGET].model_id).toBe('m1');
  });

  test.each([
    ['without a kernel', () => undefined],
    ['with another kernel', (context: Context) => void context.kernel(['m2'])]
  ])('is its still %s', async (_, prepare) => {
    const context = new Context();
    prepare(context);
    const { view, asked, done } = rendered(context);
    await done;
    expect(view.node.textContent).toBe(`${STOOD}text/html, trusted true`);
    expect(asked).toEqual(['any of text/html text/plain']);
  });

  test('is only what is safe where it is not trusted, also with its model', async () => {
    const context = new Context();
    context.kernel(['m1'], ['m1']);
    const { view, asked, done } = rendered(context, false);
    await done;
    expect(view.node.textContent).toBe(`${STOOD}text/html, trusted false`);
    expect(asked).toEqual(['ensure of text/html text/plain']);
  });

  test('says nothing until the kernel has answered', async () => {
    const context = new Context();
    context.session = { kernel: { hasComm: () => false, requestCommInfo: () => new Promise(() => undefined) } };
    const { view } = rendered(context);
    await settled();
    expect(view.node.textContent).toBe('text/html, trusted true');
  });

  test('is its still when the kernel is shut down', async () => {
    const context = new Context();
    const oldValue = context.kernel([], ['m1']);
    const { view, done } = rendered(context);
    await done;
    context.session = null;
    context.kernelChanged.emit({ oldValue, newValue: null });
    await settled();
    expect(view.node.textContent).toBe(`${STOOD}text/html, trusted true`);
  });

  test('stays when its kernel restarts: the view says itself that it is lost', async () => {
    const context = new Context();
    const kernel = context.kernel([], ['m1']);
    const { view, done } = rendered(context);
    await done;
    context.kernel([]);
    context.kernelChanged.emit({ oldValue: kernel, newValue: kernel });
    await settled();
    expect(view.node.textContent).toBe(`${WIDGET}, trusted true`);
  });

  test('lives when its page finds the kernel again', async () => {
    const context = new Context();
    const { view, done } = rendered(context);
    await done;
    const newValue = context.kernel(['m1']);
    context.kernelChanged.emit({ oldValue: null, newValue });
    await settled();
    expect(view.node.textContent).toBe(`${WIDGET}, trusted true`);
  });

  test('may be taken away while the kernel is asked', async () => {
    const context = new Context();
    context.kernel(['m1']);
    const { view, done } = rendered(context);
    view.dispose();
    await expect(done).resolves.toBeUndefined();
  });
});

describe('a widget whose models have no kernel', () => {
  const still = async (saved: object) => {
    const state: any = { push: 'IPY_MODEL_p', control: 'IPY_MODEL_c', still: saved, options: {} };
    const model = { get: (name: string) => state[name], widget_manager: { get_model: async () => ({ comm_live: false }) } };
    const el = document.createElement('div');
    const end = await widget({ title: 'Machine', parts: [], mount: () => () => undefined }).render({ model, el });
    return { el, end };
  };

  test('shows the picture of its moment, with its words', async () => {
    const { el } = await still({ png: 'AAAA', text: 'two exits' });
    const image = el.querySelector('img')!;
    expect([image.src, image.alt]).toEqual(['data:image/png;base64,AAAA', 'two exits']);
    expect(el.textContent).toBe(STOOD);
  });

  test('shows the text where there is no picture, and no element of it', async () => {
    const { el } = await still({ png: '', text: '<b>rax</b>' });
    expect(el.querySelector('pre')!.textContent).toBe('<b>rax</b>');
  });

  test('goes away with its output', async () => {
    const { el, end } = await still({ png: '', text: 'rax' });
    end();
    expect(el.childNodes).toHaveLength(0);
  });
});

test('a channel whose kernel was shut down is lost when one asks, and answers', async () => {
  const send = () => {
    throw new Error('Cannot send');
  };
  const channel = new Channel({ send, hear: () => undefined, onLost: () => undefined });
  expect(await channel.ask('hello')).toEqual({ ok: false, says: channel.says });
  expect(channel.state).toBe('lost');
});
