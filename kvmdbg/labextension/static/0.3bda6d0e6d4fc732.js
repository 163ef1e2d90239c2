"use strict";(self.rspackChunkkvmdbg_lab=self.rspackChunkkvmdbg_lab||[]).push([[0],{16(e,t,r){var o=r(17),n=r.n(o),a=r(18),i=r.n(a),d=r(19),s=r.n(d),v=r(20),c=r.n(v),p=r(21),l=r.n(p),m=r(22),b=r.n(m),g=r(23),u={};u.styleTagTransform=b(),u.setAttributes=c(),u.insert=s().bind(null,"head"),u.domAPI=i(),u.insertStyleElement=l(),n()(g.A,u),g.A&&g.A.locals&&g.A.locals},26(e,t,r){var o=r(24),n=r.n(o),a=r(25),i=(r.n(a))()(n());i.push([e.id,`/* What all views share. Colours are JupyterLab's where it gives them; a page without it has its own. */
.kvmdbg-view {
  --kvmdbg-paper: var(--jp-layout-color0, #ffffff);
  --kvmdbg-paper2: var(--jp-layout-color1, #f7f7f7);
  --kvmdbg-ink: var(--jp-content-font-color0, #1a1a1a);
  --kvmdbg-dim: var(--jp-content-font-color1, #555555);
  --kvmdbg-line: var(--jp-border-color1, #bdbdbd);
  --kvmdbg-accent: var(--jp-brand-color0, #0b5cad);
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
.kvmdbg-view[data-state="closed"] .kvmdbg-live, .kvmdbg-view[data-state="lost"] .kvmdbg-live { opacity: 0.55; }
.kvmdbg-view .kvmdbg-state { border: 2px dashed currentColor; padding: 2px 6px; font-weight: 600; }
.kvmdbg-view .kvmdbg-state:empty { display: none; }
@media (prefers-reduced-motion: no-preference) { .kvmdbg-view .kvmdbg-flash { transition: background-color 0.4s; } }
`,""]),r.d(t,{},{A:i})},23(e,t,r){var o=r(24),n=r.n(o),a=r(25),i=r.n(a),d=r(26),s=r(27),v=i()(n());v.i(d.A),v.i(s.A),v.push([e.id,`
`,""]),r.d(t,{},{A:v})},27(e,t,r){var o=r(24),n=r.n(o),a=r(25),i=(r.n(a))()(n());i.push([e.id,`/* What is JupyterLab's alone: the panel around the views, the gutter, the status bar's item. */
.kvmdbg-panel { overflow: auto; background: var(--jp-layout-color1); min-width: 260px; }
.kvmdbg-panel .kvmdbg-view { border: none; min-height: 100%; box-sizing: border-box; }
.kvmdbg-hint { margin: 0; padding: 12px; color: var(--jp-ui-font-color1); font-size: var(--jp-ui-font-size1); line-height: 1.5; }
.kvmdbg-hint code { font-family: var(--jp-code-font-family); background: var(--jp-layout-color2); padding: 1px 4px; white-space: nowrap; }

.kvmdbg-status { display: flex; align-items: center; }
.kvmdbg-status button { font: inherit; color: inherit; background: none; border: none; padding: 0 4px; height: 100%; cursor: pointer; }
.kvmdbg-status button:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }

.kvmdbg-asm .kvmdbg-gutter { width: 2.2em; cursor: pointer; }
.kvmdbg-gutter .cm-gutterElement { position: relative; font-size: 0.9em; }
.kvmdbg-sign { position: absolute; top: 0; width: 1.1em; text-align: center; }
.kvmdbg-sign-set, .kvmdbg-sign-pending, .kvmdbg-sign-disabled, .kvmdbg-sign-watch { left: 0; color: var(--jp-error-color1, #d32f2f); }
.kvmdbg-sign-disabled { color: var(--jp-ui-font-color2, #616161); }
.kvmdbg-sign-here { left: 1.1em; color: var(--jp-brand-color1, #1976d2); }
.kvmdbg-gutter .cm-gutterElement:hover:empty::before { content: '○'; position: absolute; left: 0; width: 1.1em; text-align: center; opacity: 0.5; color: var(--jp-error-color1, #d32f2f); }
.kvmdbg-asm .cm-line.kvmdbg-here { background: color-mix(in srgb, var(--jp-brand-color2, #64b5f6) 22%, transparent); }
`,""]),r.d(t,{},{A:i})},25(e){e.exports=function(e){var t=[];return t.toString=function(){return this.map(function(t){var r="",o=void 0!==t[5];return t[4]&&(r+="@supports (".concat(t[4],") {")),t[2]&&(r+="@media ".concat(t[2]," {")),o&&(r+="@layer".concat(t[5].length>0?" ".concat(t[5]):""," {")),r+=e(t),o&&(r+="}"),t[2]&&(r+="}"),t[4]&&(r+="}"),r}).join("")},t.i=function(e,r,o,n,a){"string"==typeof e&&(e=[[null,e,void 0]]);var i={};if(o)for(var d=0;d<this.length;d++){var s=this[d][0];null!=s&&(i[s]=!0)}for(var v=0;v<e.length;v++){var c=[].concat(e[v]);o&&i[c[0]]||(void 0!==a&&(void 0===c[5]||(c[1]="@layer".concat(c[5].length>0?" ".concat(c[5]):""," {").concat(c[1],"}")),c[5]=a),r&&(c[2]&&(c[1]="@media ".concat(c[2]," {").concat(c[1],"}")),c[2]=r),n&&(c[4]?(c[1]="@supports (".concat(c[4],") {").concat(c[1],"}"),c[4]=n):c[4]="".concat(n)),t.push(c))}},t}},24(e){e.exports=function(e){return e[1]}},17(e){var t=[];function r(e){for(var r=-1,o=0;o<t.length;o++)if(t[o].identifier===e){r=o;break}return r}function o(e,o){for(var n={},a=[],i=0;i<e.length;i++){var d=e[i],s=o.base?d[0]+o.base:d[0],v=n[s]||0,c="".concat(s," ").concat(v);n[s]=v+1;var p=r(c),l={css:d[1],media:d[2],sourceMap:d[3],supports:d[4],layer:d[5]};if(-1!==p)t[p].references++,t[p].updater(l);else{var m=function(e,t){var r=t.domAPI(t);return r.update(e),function(t){t?(t.css!==e.css||t.media!==e.media||t.sourceMap!==e.sourceMap||t.supports!==e.supports||t.layer!==e.layer)&&r.update(e=t):r.remove()}}(l,o);o.byIndex=i,t.splice(i,0,{identifier:c,updater:m,references:1})}a.push(c)}return a}e.exports=function(e,n){var a=o(e=e||[],n=n||{});return function(e){e=e||[];for(var i=0;i<a.length;i++){var d=r(a[i]);t[d].references--}for(var s=o(e,n),v=0;v<a.length;v++){var c=r(a[v]);0===t[c].references&&(t[c].updater(),t.splice(c,1))}a=s}}},19(e){var t={};e.exports=function(e,r){var o=function(e){if(void 0===t[e]){var r=document.querySelector(e);if(window.HTMLIFrameElement&&r instanceof window.HTMLIFrameElement)try{r=r.contentDocument.head}catch(e){r=null}t[e]=r}return t[e]}(e);if(!o)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");o.appendChild(r)}},21(e){e.exports=function(e){var t=document.createElement("style");return e.setAttributes(t,e.attributes),e.insert(t,e.options),t}},20(e,t,r){e.exports=function(e){var t=r.nc;t&&e.setAttribute("nonce",t)}},18(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var t=e.insertStyleElement(e);return{update:function(r){var o,n,a;o="",r.supports&&(o+="@supports (".concat(r.supports,") {")),r.media&&(o+="@media ".concat(r.media," {")),(n=void 0!==r.layer)&&(o+="@layer".concat(r.layer.length>0?" ".concat(r.layer):""," {")),o+=r.css,n&&(o+="}"),r.media&&(o+="}"),r.supports&&(o+="}"),(a=r.sourceMap)&&"u">typeof btoa&&(o+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(a))))," */")),e.styleTagTransform(o,t,e.options)},remove:function(){var e;null===(e=t).parentNode||e.parentNode.removeChild(e)}}}},22(e){e.exports=function(e,t){if(t.styleSheet)t.styleSheet.cssText=e;else{for(;t.firstChild;)t.removeChild(t.firstChild);t.appendChild(document.createTextNode(e))}}}}]);