"use strict";(self.rspackChunkkvmdbg_lab=self.rspackChunkkvmdbg_lab||[]).push([[0],{16(e,a,d){var i=d(17),m=d.n(i),n=d(18),t=d.n(n),r=d(19),o=d.n(r),g=d(20),v=d.n(g),b=d(21),c=d.n(b),p=d(22),k=d.n(p),l=d(23),s={};s.styleTagTransform=k(),s.setAttributes=v(),s.insert=o().bind(null,"head"),s.domAPI=t(),s.insertStyleElement=c(),m()(l.A,s),l.A&&l.A.locals&&l.A.locals},27(e,a,d){var i=d(24),m=d.n(i),n=d(25),t=(d.n(n))()(m());t.push([e.id,`/* The machine view, from a side panel of 300 px to a page of 1200. */
.kvmdbg-machine { container: kvmdbg-machine / inline-size; font-variant-numeric: tabular-nums; --kvmdbg-shade: var(--jp-layout-color2, var(--kvmdbg-paper2)); }
.kvmdbg-machine caption { white-space: nowrap; }
.kvmdbg-view:has(> .kvmdbg-live > .kvmdbg-machine) { container: kvmdbg-frame / inline-size; }
@container kvmdbg-frame (max-width: 860px) {
  .kvmdbg-view > .kvmdbg-says { min-height: 2.8em; }
}
@container kvmdbg-frame (max-width: 480px) {
  .kvmdbg-view > .kvmdbg-says { min-height: 4.2em; } /* long stops: nothing below moves */
}
.kvmdbg-machine .kvmdbg-grid { display: grid; grid-template-columns: minmax(0, 1fr); gap: 8px; }
.kvmdbg-machine .kvmdbg-panel { container: kvmdbg-panel / inline-size; min-width: 0; border-top: 1px solid var(--kvmdbg-line); padding-top: 4px; }
.kvmdbg-machine table, .kvmdbg-machine .kvmdbg-register, .kvmdbg-machine .kvmdbg-flag, .kvmdbg-machine .kvmdbg-forms, .kvmdbg-machine .kvmdbg-console, .kvmdbg-machine .kvmdbg-byte {
  font-family: var(--kvmdbg-mono);
  font-size: 12px;
  line-height: 18px;
}
.kvmdbg-machine h4 { font-weight: 600; margin: 0 8px 2px 0; line-height: 26px; }
.kvmdbg-machine .kvmdbg-note { margin: 2px 0; color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-note:empty { display: none; }
.kvmdbg-machine summary { cursor: pointer; padding: 5px 0; color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-panel-inspect > summary { font-weight: 600; color: inherit; }
.kvmdbg-machine .kvmdbg-panel-head { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 6px; justify-content: space-between; }
.kvmdbg-machine form { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 0; }
.kvmdbg-machine .kvmdbg-column { display: contents; } /* a narrow page is one column */
.kvmdbg-machine .kvmdbg-panel-code { order: 1; }
.kvmdbg-machine .kvmdbg-panel-registers { order: 2; }
.kvmdbg-machine .kvmdbg-panel-stack { order: 3; }
.kvmdbg-machine .kvmdbg-panel-memory { order: 4; }
.kvmdbg-machine .kvmdbg-panel-console { order: 5; }
.kvmdbg-machine .kvmdbg-panel-inspect { order: 6; }
.kvmdbg-machine form.kvmdbg-place { flex-wrap: nowrap; min-width: 0; max-width: 100%; }
.kvmdbg-machine form.kvmdbg-jump { flex-wrap: nowrap; min-width: 0; }
.kvmdbg-machine form button { white-space: nowrap; }
.kvmdbg-machine .kvmdbg-window .kvmdbg-panel-head { flex-wrap: nowrap; }
.kvmdbg-machine .kvmdbg-zeros { color: var(--kvmdbg-dim); font-weight: 400; }
.kvmdbg-machine form input { width: 11em; min-width: 0; flex: 0 1 12em; font-family: var(--kvmdbg-mono); font-size: 12px; }
.kvmdbg-machine button, .kvmdbg-machine select { font-size: 12px; }
.kvmdbg-machine [hidden] { display: none !important; } /* whatever else says how it is laid out */

/* The bar */
.kvmdbg-machine .kvmdbg-controls { display: flex; flex-wrap: wrap; gap: 3px; }
.kvmdbg-machine .kvmdbg-control { display: inline-flex; align-items: center; gap: 5px; padding: 2px 7px; min-height: 28px; }
.kvmdbg-machine .kvmdbg-control:hover:not([aria-disabled="true"]) { border-color: var(--kvmdbg-accent); }
.kvmdbg-machine .kvmdbg-control[aria-disabled="true"] { border-style: dotted; }
.kvmdbg-machine .kvmdbg-icon { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
.kvmdbg-machine .kvmdbg-control[data-action="stop"]:not([aria-disabled="true"]) .kvmdbg-icon { fill: currentColor; }
.kvmdbg-machine .kvmdbg-progress { min-height: 20px; line-height: 20px; color: var(--kvmdbg-dim); font-size: 12px; }
.kvmdbg-machine .kvmdbg-says:empty { min-height: 0; }
.kvmdbg-machine .kvmdbg-control-label { display: none; }

/* Code */
.kvmdbg-machine .kvmdbg-code-scroll { max-height: 470px; overflow: auto; position: relative; }
.kvmdbg-machine .kvmdbg-code { width: 100%; }
.kvmdbg-machine .kvmdbg-code td, .kvmdbg-machine .kvmdbg-code th { padding: 0 10px 0 0; }
.kvmdbg-machine .kvmdbg-code tr[data-address] { cursor: default; }
.kvmdbg-machine .kvmdbg-code tr[data-address]:hover { background: var(--kvmdbg-shade); }
.kvmdbg-machine .kvmdbg-code tr[aria-current] { background: color-mix(in srgb, var(--kvmdbg-accent) 16%, var(--kvmdbg-paper)); }
.kvmdbg-machine .kvmdbg-code tr:focus-visible { outline-offset: -2px; }
.kvmdbg-machine .kvmdbg-code td:first-child { width: 22px; padding: 0; }
.kvmdbg-machine .kvmdbg-code .kvmdbg-here { width: 14px; padding: 0 4px 0 0; color: var(--kvmdbg-accent); }
.kvmdbg-machine .kvmdbg-gutter { width: 22px; min-height: 18px; height: 18px; padding: 0; border: 0; background: none; color: var(--kvmdbg-dim); line-height: 16px; text-align: center; }
.kvmdbg-machine .kvmdbg-gutter:hover { color: var(--kvmdbg-stop); outline: 1px solid var(--kvmdbg-line); }
.kvmdbg-machine .kvmdbg-gutter:not([data-shape=""]) { color: var(--kvmdbg-stop); font-size: 15px; }
.kvmdbg-machine .kvmdbg-address, .kvmdbg-machine .kvmdbg-bytes, .kvmdbg-machine .kvmdbg-source, .kvmdbg-machine .kvmdbg-data .kvmdbg-text { color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-bytes, .kvmdbg-machine .kvmdbg-source { display: none; }
.kvmdbg-machine .kvmdbg-bytes { min-width: 23ch; }
.kvmdbg-machine .kvmdbg-text { width: 99%; }
.kvmdbg-machine .kvmdbg-code .kvmdbg-label { padding-top: 3px; color: var(--kvmdbg-accent); }
.kvmdbg-view { --kvmdbg-stop: #b3261e; }
body[data-jp-theme-light="false"] .kvmdbg-view { --kvmdbg-stop: #ff8a80; }
@media (prefers-color-scheme: dark) { body:not([data-jp-theme-name]) .kvmdbg-view { --kvmdbg-stop: #ff8a80; } }

/* The processor */
.kvmdbg-machine .kvmdbg-registers { display: grid; grid-template-columns: repeat(auto-fill, minmax(calc(var(--kvmdbg-digits, 16) * 1ch + 9ch + 12px), 1fr)); font-family: var(--kvmdbg-mono); font-size: 12px; }
.kvmdbg-machine .kvmdbg-register { display: flex; gap: 1ch; border: 0; background: none; padding: 1px 4px; min-height: 24px; text-align: left; align-items: baseline; }
.kvmdbg-machine .kvmdbg-register b { display: inline-block; width: 6ch; font-weight: 600; color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-register, .kvmdbg-machine .kvmdbg-flag { position: relative; }
.kvmdbg-machine .kvmdbg-register .kvmdbg-mark, .kvmdbg-machine .kvmdbg-flag .kvmdbg-mark { width: 1ch; }
.kvmdbg-machine .kvmdbg-register:hover, .kvmdbg-machine .kvmdbg-flag:hover { background: var(--kvmdbg-shade); }
.kvmdbg-machine .kvmdbg-flags { display: flex; flex-wrap: wrap; margin-top: 4px; }
.kvmdbg-machine .kvmdbg-flag { display: flex; border: 0; background: none; padding: 1px 3px; min-height: 24px; align-items: baseline; color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-flag[data-set="true"] { color: var(--kvmdbg-ink); font-weight: 700; }
.kvmdbg-machine .kvmdbg-flag[data-set="true"] > span:first-child { border-bottom: 2px solid currentColor; }
.kvmdbg-machine .kvmdbg-forms { display: flex; flex-wrap: wrap; align-content: flex-start; gap: 0 16px; margin: 4px 0; padding: 4px; min-height: 54px; background: var(--kvmdbg-shade); }
.kvmdbg-machine .kvmdbg-forms > div { display: flex; gap: 1ch; }
.kvmdbg-machine .kvmdbg-forms dt { color: var(--kvmdbg-dim); }
.kvmdbg-machine .kvmdbg-forms dt, .kvmdbg-machine .kvmdbg-forms dd { float: none; width: auto; padding: 0; margin: 0; font-weight: 400; }
.kvmdbg-machine .kvmdbg-forms dd { overflow-wrap: anywhere; }

/* The stack */
.kvmdbg-machine .kvmdbg-stack th, .kvmdbg-machine .kvmdbg-stack td { padding: 0 12px 0 0; }
.kvmdbg-machine .kvmdbg-stack thead th { font-weight: 400; color: var(--kvmdbg-dim); font-family: var(--jp-ui-font-family, system-ui, sans-serif); }
.kvmdbg-machine .kvmdbg-stack tbody th { min-width: 7ch; font-weight: 400; text-align: right; }
.kvmdbg-machine .kvmdbg-stack .kvmdbg-mark { display: inline-block; width: 2ch; text-align: left; }
.kvmdbg-machine .kvmdbg-stack td .kvmdbg-mark { width: 1ch; padding-left: 1ch; }
.kvmdbg-machine .kvmdbg-stack .kvmdbg-prose { font-size: 12px; white-space: nowrap; }
.kvmdbg-machine .kvmdbg-top th, .kvmdbg-machine .kvmdbg-top td { font-weight: 700; }
.kvmdbg-machine .kvmdbg-gone { color: var(--kvmdbg-dim); }

/* Memory */
.kvmdbg-machine .kvmdbg-window { margin-bottom: 10px; container: kvmdbg-window / inline-size; }
.kvmdbg-machine .kvmdbg-dump-scroll { overflow-x: auto; max-height: 400px; font-size: 12px; margin-top: 3px; }
.kvmdbg-machine .kvmdbg-dump th { font-weight: 400; color: var(--kvmdbg-dim); padding: 0 1ch 0 0; }
.kvmdbg-machine .kvmdbg-dump thead th { padding: 0 1px; text-align: center; position: sticky; top: 0; background: var(--kvmdbg-paper); }
.kvmdbg-machine .kvmdbg-dump thead th:first-child { text-align: left; padding-right: 1ch; }
.kvmdbg-machine .kvmdbg-dump thead th:last-child { text-align: left; padding-left: 1ch; }
.kvmdbg-machine .kvmdbg-dump td[data-offset] { width: 3ch; padding: 0; text-align: center; cursor: pointer; border: 1px solid transparent; box-sizing: border-box; }
.kvmdbg-machine .kvmdbg-dump td[data-offset]:hover { background: var(--kvmdbg-shade); }
.kvmdbg-machine .kvmdbg-dump td.kvmdbg-changed[data-offset] { font-weight: 700; text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 3px; color: var(--kvmdbg-accent); }
.kvmdbg-machine .kvmdbg-dump td.kvmdbg-watched[data-offset] { border: 1px solid var(--kvmdbg-stop); }
.kvmdbg-machine .kvmdbg-dump td.kvmdbg-off[data-offset] { border-style: dashed; }
.kvmdbg-machine .kvmdbg-dump .kvmdbg-ascii { padding: 0 0 0 1ch; letter-spacing: 0; }
.kvmdbg-machine .kvmdbg-watch { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; padding: 4px; background: var(--kvmdbg-shade); }

/* Tables and console */
.kvmdbg-machine .kvmdbg-panel-inspect form input { flex-basis: 17em; }
.kvmdbg-machine .kvmdbg-cards { max-height: 520px; overflow: auto; }
.kvmdbg-machine .kvmdbg-cards p { margin: 2px 0 4px; }
.kvmdbg-machine .kvmdbg-cards thead th { color: var(--kvmdbg-dim); font-weight: 400; }
.kvmdbg-machine .kvmdbg-console { margin: 0; padding: 4px; min-height: 36px; max-height: 180px; overflow: auto; background: var(--kvmdbg-shade); white-space: pre-wrap; overflow-wrap: anywhere; }

@container kvmdbg-machine (max-width: 340px) {
  .kvmdbg-machine .kvmdbg-control { padding: 2px 5px; }
}
@container kvmdbg-machine (min-width: 480px) {
  .kvmdbg-machine .kvmdbg-control-apart { margin-left: 9px; }
}
@container kvmdbg-machine (min-width: 600px) and (max-width: 859.9px) {
  .kvmdbg-machine .kvmdbg-grid { grid-template-columns: minmax(0, 1.6fr) minmax(0, 1fr); gap: 8px 20px; grid-template-areas: "code code" "registers registers" "stack console" "memory memory" "inspect inspect"; }
  .kvmdbg-machine .kvmdbg-panel-code { grid-area: code; }
  .kvmdbg-machine .kvmdbg-panel-registers { grid-area: registers; }
  .kvmdbg-machine .kvmdbg-panel-stack { grid-area: stack; }
  .kvmdbg-machine .kvmdbg-panel-memory { grid-area: memory; }
  .kvmdbg-machine .kvmdbg-panel-console { grid-area: console; }
  .kvmdbg-machine .kvmdbg-panel-inspect { grid-area: inspect; }
}
@container kvmdbg-machine (min-width: 860px) {
  .kvmdbg-machine .kvmdbg-control-label { display: inline; }
  .kvmdbg-machine .kvmdbg-grid { grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); gap: 8px 20px; }
  .kvmdbg-machine .kvmdbg-column { display: grid; align-content: start; gap: 8px; grid-template-columns: minmax(0, 1fr); }
  .kvmdbg-machine .kvmdbg-panel-inspect { grid-column: 1 / -1; }
}
@container kvmdbg-window (max-width: 330px) or ((min-width: 490px) and (max-width: 540px)) {
  .kvmdbg-machine .kvmdbg-dump-scroll, .kvmdbg-machine .kvmdbg-dump { font-size: 11px; }
}
@container kvmdbg-panel (max-width: 360px) {
  .kvmdbg-machine .kvmdbg-stack th:nth-child(2), .kvmdbg-machine .kvmdbg-stack td:nth-child(2) { display: none; }
}
@container kvmdbg-panel (min-width: 470px) {
  .kvmdbg-machine .kvmdbg-bytes { display: table-cell; }
}
@container kvmdbg-panel (min-width: 640px) {
  .kvmdbg-machine .kvmdbg-source { display: table-cell; }
}
`,""]),d.d(a,{},{A:t})},26(e,a,d){var i=d(24),m=d.n(i),n=d(25),t=(d.n(n))()(m());t.push([e.id,`/* What all views share. Colours are JupyterLab's where it gives them; a page without it has its own. */
.kvmdbg-view {
  --kvmdbg-paper: var(--jp-layout-color0, #ffffff);
  --kvmdbg-paper2: var(--jp-layout-color1, #f7f7f7);
  --kvmdbg-ink: var(--jp-content-font-color0, #1a1a1a);
  --kvmdbg-dim: var(--jp-content-font-color1, #555555);
  --kvmdbg-line: var(--jp-border-color1, #bdbdbd);
  --kvmdbg-accent: color-mix(in srgb, var(--jp-brand-color0, #0b5cad) 60%, var(--kvmdbg-ink)); /* legible on dark paper too */
  --kvmdbg-mono: var(--jp-code-font-family, ui-monospace, monospace);
  background: var(--kvmdbg-paper);
  color: var(--kvmdbg-ink);
  font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  font-size: var(--jp-ui-font-size1, 13px);
  border: 1px solid var(--kvmdbg-line);
  padding: 6px;
}
@media (prefers-color-scheme: dark) {
  body:not([data-jp-theme-name]) .kvmdbg-view {
    --kvmdbg-paper: #111111;
    --kvmdbg-paper2: #1c1c1c;
    --kvmdbg-ink: #eeeeee;
    --kvmdbg-dim: #bbbbbb;
    --kvmdbg-line: #555555;
    --kvmdbg-accent: #7cb8f0;
  }
}
.kvmdbg-view table { border-collapse: collapse; font-family: var(--kvmdbg-mono); }
.kvmdbg-view th, .kvmdbg-view td { padding: 1px 6px; text-align: left; vertical-align: top; white-space: pre; }
.kvmdbg-view th { font-weight: 600; }
.kvmdbg-view caption { text-align: left; font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-weight: 600; padding: 4px 0; }
.kvmdbg-view .kvmdbg-prose { white-space: normal; font-family: var(--jp-ui-font-family, system-ui, sans-serif); }
.kvmdbg-view .kvmdbg-right { text-align: right; }
.kvmdbg-view .kvmdbg-scroll { overflow: auto; }
.kvmdbg-view h4 { margin: 4px 0; font-size: inherit; }
.kvmdbg-view button, .kvmdbg-view select, .kvmdbg-view input {
  font: inherit;
  color: var(--kvmdbg-ink);
  background: var(--kvmdbg-paper2);
  border: 1px solid var(--kvmdbg-dim);
  border-radius: 3px;
  padding: 2px 8px;
  min-height: 24px;
}
.kvmdbg-view button { cursor: pointer; }
.kvmdbg-view button[aria-disabled="true"], .kvmdbg-view button:disabled { color: var(--kvmdbg-dim); cursor: default; }
.kvmdbg-view :focus-visible { outline: 2px solid var(--kvmdbg-accent); outline-offset: 1px; }
.kvmdbg-view .kvmdbg-mark { color: var(--kvmdbg-accent); }
.kvmdbg-view .kvmdbg-says { min-height: 1.4em; }
.kvmdbg-spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.kvmdbg-view[data-state="closed"], .kvmdbg-view[data-state="lost"] { border-style: dashed; border-width: 2px; filter: grayscale(1); }
.kvmdbg-view .kvmdbg-state { border: 2px dashed currentColor; padding: 2px 6px; font-weight: 600; }
.kvmdbg-view .kvmdbg-state:empty { display: none; }
`,""]),d.d(a,{},{A:t})},23(e,a,d){var i=d(24),m=d.n(i),n=d(25),t=d.n(n),r=d(26),o=d(27),g=d(28),v=t()(m());v.i(r.A),v.i(o.A),v.i(g.A),v.push([e.id,`
`,""]),d.d(a,{},{A:v})},28(e,a,d){var i=d(24),m=d.n(i),n=d(25),t=(d.n(n))()(m());t.push([e.id,`/* What is JupyterLab's alone: the panel around the views, the gutter, the status bar's item. */
.kvmdbg-lab-panel { overflow: auto; background: var(--jp-layout-color1); min-width: 260px; }
.kvmdbg-lab-panel .kvmdbg-view { border: none; min-height: 100%; box-sizing: border-box; }
.kvmdbg-lab-hint { margin: 0; padding: 12px; color: var(--jp-ui-font-color1); font-size: var(--jp-ui-font-size1); line-height: 1.5; }
.kvmdbg-lab-hint code { font-family: var(--jp-code-font-family); background: var(--jp-layout-color2); padding: 1px 4px; white-space: nowrap; }

.kvmdbg-still .kvmdbg-state { border: 2px dashed currentColor; padding: 2px 6px; font-weight: 600; font-size: var(--jp-ui-font-size1); }
.kvmdbg-still .kvmdbg-state:empty { display: none; }

.kvmdbg-lab-status { display: flex; align-items: center; }
.kvmdbg-lab-status button { font: inherit; color: inherit; background: none; border: none; padding: 0 4px; height: 100%; cursor: pointer; }
.kvmdbg-lab-status button:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }

/* In Lab's themes these three are too pale to read (WCAG asks for 4.5:1). */
.kvmdbg-asm {
  --jp-mirror-editor-meta-color: var(--jp-mirror-editor-operator-color);
  --jp-mirror-editor-number-color: var(--jp-mirror-editor-builtin-color);
  --jp-mirror-editor-comment-color: color-mix(in srgb, #408080 65%, var(--jp-content-font-color0));
}

.kvmdbg-asm .kvmdbg-lab-gutter { width: 2.2em; cursor: pointer; --kvmdbg-lab-dot: color-mix(in srgb, var(--jp-error-color1) 70%, var(--jp-content-font-color0)); }
.kvmdbg-lab-gutter .cm-gutterElement { position: relative; font-size: 0.9em; }
.kvmdbg-lab-sign { position: absolute; top: 0; width: 1.1em; text-align: center; }
.kvmdbg-lab-sign-set, .kvmdbg-lab-sign-pending, .kvmdbg-lab-sign-disabled, .kvmdbg-lab-sign-watch { left: 0; color: var(--kvmdbg-lab-dot); }
.kvmdbg-lab-sign-disabled { color: var(--jp-ui-font-color1); }
.kvmdbg-lab-sign-here { left: 1.1em; color: color-mix(in srgb, var(--jp-brand-color1) 70%, var(--jp-content-font-color0)); }
.kvmdbg-lab-gutter .cm-gutterElement:hover:empty::before { content: '○'; position: absolute; left: 0; width: 1.1em; text-align: center; opacity: 0.6; color: var(--kvmdbg-lab-dot); }
.kvmdbg-asm .cm-line.kvmdbg-lab-here { background: color-mix(in srgb, var(--jp-brand-color2, #64b5f6) 22%, transparent); }
`,""]),d.d(a,{},{A:t})},25(e){e.exports=function(e){var a=[];return a.toString=function(){return this.map(function(a){var d="",i=void 0!==a[5];return a[4]&&(d+="@supports (".concat(a[4],") {")),a[2]&&(d+="@media ".concat(a[2]," {")),i&&(d+="@layer".concat(a[5].length>0?" ".concat(a[5]):""," {")),d+=e(a),i&&(d+="}"),a[2]&&(d+="}"),a[4]&&(d+="}"),d}).join("")},a.i=function(e,d,i,m,n){"string"==typeof e&&(e=[[null,e,void 0]]);var t={};if(i)for(var r=0;r<this.length;r++){var o=this[r][0];null!=o&&(t[o]=!0)}for(var g=0;g<e.length;g++){var v=[].concat(e[g]);i&&t[v[0]]||(void 0!==n&&(void 0===v[5]||(v[1]="@layer".concat(v[5].length>0?" ".concat(v[5]):""," {").concat(v[1],"}")),v[5]=n),d&&(v[2]&&(v[1]="@media ".concat(v[2]," {").concat(v[1],"}")),v[2]=d),m&&(v[4]?(v[1]="@supports (".concat(v[4],") {").concat(v[1],"}"),v[4]=m):v[4]="".concat(m)),a.push(v))}},a}},24(e){e.exports=function(e){return e[1]}},17(e){var a=[];function d(e){for(var d=-1,i=0;i<a.length;i++)if(a[i].identifier===e){d=i;break}return d}function i(e,i){for(var m={},n=[],t=0;t<e.length;t++){var r=e[t],o=i.base?r[0]+i.base:r[0],g=m[o]||0,v="".concat(o," ").concat(g);m[o]=g+1;var b=d(v),c={css:r[1],media:r[2],sourceMap:r[3],supports:r[4],layer:r[5]};if(-1!==b)a[b].references++,a[b].updater(c);else{var p=function(e,a){var d=a.domAPI(a);return d.update(e),function(a){a?(a.css!==e.css||a.media!==e.media||a.sourceMap!==e.sourceMap||a.supports!==e.supports||a.layer!==e.layer)&&d.update(e=a):d.remove()}}(c,i);i.byIndex=t,a.splice(t,0,{identifier:v,updater:p,references:1})}n.push(v)}return n}e.exports=function(e,m){var n=i(e=e||[],m=m||{});return function(e){e=e||[];for(var t=0;t<n.length;t++){var r=d(n[t]);a[r].references--}for(var o=i(e,m),g=0;g<n.length;g++){var v=d(n[g]);0===a[v].references&&(a[v].updater(),a.splice(v,1))}n=o}}},19(e){var a={};e.exports=function(e,d){var i=function(e){if(void 0===a[e]){var d=document.querySelector(e);if(window.HTMLIFrameElement&&d instanceof window.HTMLIFrameElement)try{d=d.contentDocument.head}catch(e){d=null}a[e]=d}return a[e]}(e);if(!i)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");i.appendChild(d)}},21(e){e.exports=function(e){var a=document.createElement("style");return e.setAttributes(a,e.attributes),e.insert(a,e.options),a}},20(e,a,d){e.exports=function(e){var a=d.nc;a&&e.setAttribute("nonce",a)}},18(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var a=e.insertStyleElement(e);return{update:function(d){var i,m,n;i="",d.supports&&(i+="@supports (".concat(d.supports,") {")),d.media&&(i+="@media ".concat(d.media," {")),(m=void 0!==d.layer)&&(i+="@layer".concat(d.layer.length>0?" ".concat(d.layer):""," {")),i+=d.css,m&&(i+="}"),d.media&&(i+="}"),d.supports&&(i+="}"),(n=d.sourceMap)&&"u">typeof btoa&&(i+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(n))))," */")),e.styleTagTransform(i,a,e.options)},remove:function(){var e;null===(e=a).parentNode||e.parentNode.removeChild(e)}}}},22(e){e.exports=function(e,a){if(a.styleSheet)a.styleSheet.cssText=e;else{for(;a.firstChild;)a.removeChild(a.firstChild);a.appendChild(document.createTextNode(e))}}}}]);