/** Stands in for the machine view, whose file is not on this branch yet. */
import type { Mount } from '../../kvmdbg/jupyter/widgets/esm/frame.js';

const mount: Mount = (root, channel) => {
  const text = root.appendChild(document.createElement('pre'));
  const draw = () => void (text.textContent = JSON.stringify(channel.snapshot?.pc));
  draw();
  return channel.on('snapshot', draw);
};

export const machineView = { title: 'Machine', parts: ['machine'], mount };
