/**
 * The commands' icons: JupyterLab's own, and the one that it does not have, a processor.
 * Must not know: the commands.
 */
import {
  LabIcon,
  fastForwardIcon,
  refreshIcon,
  stepIntoIcon,
  stepOutIcon,
  stepOverIcon,
  stopIcon,
  undoIcon
} from '@jupyterlab/ui-components';

const CHIP = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path fill-rule="evenodd" d="M7 5h10a2 2 0 0 1 2 2v10a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2zm0 2v10h10V7z"/>
    <path d="M9.5 9.5h5v5h-5zM8 2h2v3H8zM14 2h2v3h-2zM8 19h2v3H8zM14 19h2v3h-2zM2 8h3v2H2zM2 14h3v2H2zM19 8h3v2h-3zM19 14h3v2h-3z"/>
  </g>
</svg>`;

export const chipIcon = new LabIcon({ name: 'kvmdbg-lab:chip', svgstr: CHIP });

/** By the action of a control (kvmdbg/jupyter/widgets/esm/controls.js). */
export const icons: Record<string, LabIcon> = {
  step: stepIntoIcon,
  over: stepOverIcon,
  out: stepOutIcon,
  'step-back': undoIcon,
  back: undoIcon,
  continue: fastForwardIcon,
  until: chipIcon,
  stop: stopIcon,
  reset: refreshIcon,
  breakpoint: chipIcon
};
