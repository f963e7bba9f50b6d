// The dashboard: where the reader is decides what is shown; the frame around it stays.

import { html, render, useEffect, useRef, useState } from "./vendor/vendor.js";
import { onLocked, setToken, token } from "./lib/api.js";
import { useAsk } from "./lib/hooks.js";
import { useRoute } from "./lib/route.js";
import { line } from "./lib/text.js";
import { verdicts } from "./lib/health.js";
import { Icon } from "./parts/icon.js";
import { CostView } from "./views/cost.js";
import { EventsView } from "./views/events.js";
import { ModelsView } from "./views/models.js";
import { NowView } from "./views/now.js";
import { PipelineView } from "./views/pipeline.js";
import { ResourcesView } from "./views/resources.js";
import { RunView } from "./views/run.js";
import { RunsView } from "./views/runs.js";
import { SessionView } from "./views/session.js";
import { SessionsView } from "./views/sessions.js";

/** `[first part of the address, label, view]`; `of` names the entry of the menu that a view stands under. */
const VIEWS = [
  { path: "", label: "Now", icon: "now", view: NowView },
  { path: "sessions", label: "Sessions", icon: "sessions", view: SessionsView },
  { path: "runs", label: "Runs", icon: "runs", view: RunsView },
  { path: "events", label: "Events", icon: "events", view: EventsView },
  { path: "models", label: "Models and tools", icon: "models", view: ModelsView },
  { path: "cost", label: "Cost", icon: "cost", view: CostView },
  { path: "resources", label: "Resources", icon: "resources", view: ResourcesView },
  { path: "pipeline", label: "Pipeline", icon: "pipeline", view: PipelineView },
];
const DETAILS = { session: { of: "sessions", label: "Session", view: SessionView }, run: { of: "runs", label: "Run", view: RunView } };

function App() {
  const { path, params } = useRoute();
  const [locked, setLocked] = useState(null);
  const [epoch, setEpoch] = useState(0);
  const main = useRef(null);
  const help = useRef(null);
  useEffect(() => onLocked(setLocked), []);
  const [first = "", id] = path;
  const found = DETAILS[first] && id ? DETAILS[first] : VIEWS.find((one) => one.path === first);
  const place = path.join("/");
  useEffect(() => {
    document.title = `${found?.label ?? "Not found"}${id ? ` ${line(id, 40)}` : ""} · openclaw-trace`;
    scrollTo(0, 0);
  }, [place]);
  useKeys(help);
  const unlock = (text) => {
    setToken(text);
    setLocked(null);
    setEpoch(epoch + 1);
  };
  const inside = locked
    ? html`<${Locked} why=${locked.message} onToken=${unlock} />`
    : found ? html`<${found.view} key=${`${place} ${epoch}`} id=${id} params=${params} />`
    : html`<h1>There is no such view</h1><p><a href="#/">To the start</a></p>`;
  return html`<a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      main.current.focus();
    }}>Skip to the content</a>
    <${Side} current=${found?.of ?? found?.path} help=${help} locked=${locked} epoch=${epoch} />
    <main id="main" ref=${main} tabindex="-1" class=${first === "run" && id && !locked ? "fixed" : ""}>${inside}</main>
    <${Help} dialog=${help} />`;
}

function Side({ current, help, locked, epoch }) {
  const nav = useRef(null);
  // On a narrow page the menu is a strip; where the reader is stays in sight.
  useEffect(() => {
    const link = nav.current?.querySelector("[aria-current]");
    if (link && nav.current.scrollWidth > nav.current.clientWidth) nav.current.scrollLeft = link.offsetLeft - 60;
  }, [current]);
  return html`<header class="side">
    <a class="brand" href="#/" aria-label="openclaw-trace, to the start"><svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><rect x="2" y="4" width="13" height="4" rx="2" /><rect x="6" y="10" width="15" height="4" rx="2" /><rect x="10" y="16" width="8" height="4" rx="2" /></svg><span>openclaw-trace</span></a>
    <nav aria-label="Views" ref=${nav}>${VIEWS.map((one) => html`<a key=${one.path} href=${`#/${one.path}`} aria-current=${one.path === current ? "page" : undefined}><${Icon} name=${one.icon} size="16" />${one.label}</a>`)}</nav>
    <div class="side-foot">${!locked && html`<${Pulse} key=${epoch} />`}
      <div class="side-buttons"><button class="icon-button" onClick=${() => window.toggleTheme()} aria-label="Light or dark" title="Light or dark"><${Icon} name="sun" size="15" /></button>
      <button class="icon-button" onClick=${() => help.current.showModal()} aria-label="Keys" title="Keys (?)">?</button>
      ${token() && html`<button class="icon-button" title="Forget the token" aria-label="Forget the token" onClick=${() => {
        setToken("");
        location.reload();
      }}><${Icon} name="key" size="15" /></button>`}</div></div>
  </header>`;
}

/** Whether the sidecar is well, on every view. */
function Pulse() {
  const { data, error } = useAsk("/api/v1/status", undefined, { every: 15_000 });
  const worst = error ? "act" : data ? verdicts(data)[0].level : "none";
  const words = error ? "not reached" : !data ? "asking" : worst === "act" ? "needs a look" : data.phase;
  return html`<a class=${`pulse v-${worst}`} href="#/pipeline" title="How the sidecar does"><i></i>${words}${data && html`<span class="faint"> ${line(data.version, 12)}</span>`}</a>`;
}

function Locked({ why, onToken }) {
  const [text, setText] = useState("");
  return html`<form class="locked panel" onSubmit=${(event) => {
    event.preventDefault();
    onToken(text.trim());
  }}>
    <h1><${Icon} name="key" size="18" /> A token is needed</h1>
    <p class="faint">${line(why, 200)}. It is what <code>TRACE_API_TOKEN</code> was set to. It is kept in this tab only.</p>
    <label for="token">Token</label>
    <div class="locked-row"><input id="token" type="password" autocomplete="off" required value=${text} onInput=${(event) => setText(event.target.value)} /><button class="primary">Open</button></div>
  </form>`;
}

const PLACES = { n: "#/", s: "#/sessions", r: "#/runs", e: "#/events", m: "#/models", c: "#/cost", u: "#/resources", p: "#/pipeline" };

/** `g` and a letter go to a view, `?` tells all keys. */
function useKeys(help) {
  useEffect(() => {
    let led = 0;
    const listen = (event) => {
      if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select, dialog")) return;
      if (event.key === "?") help.current?.showModal();
      else if (Date.now() - led < 1500 && PLACES[event.key]) {
        event.preventDefault();
        event.stopPropagation();
        location.hash = PLACES[event.key];
      } else if (event.key === "g") {
        led = Date.now();
        return;
      }
      led = 0;
    };
    // Before the views' own keys: `g e` goes to the events, it does not look for an error.
    document.addEventListener("keydown", listen, true);
    return () => document.removeEventListener("keydown", listen, true);
  }, []);
}

const KEYS = [
  ["Everywhere", [["g n", "now"], ["g s", "sessions"], ["g r", "runs"], ["g e", "events"], ["g m", "models and tools"], ["g c", "cost"], ["g u", "resources"], ["g p", "pipeline"], ["?", "these keys"]]],
  ["In a run", [["↑ ↓", "move"], ["→ ←", "unfold, fold, or go up"], ["Enter", "open the event"], ["Esc", "back to the tree"], ["/", "search inside the run"], ["n N", "next, previous match"], ["e E", "next, previous error"], ["z Z", "zoom to the event, to all"], ["Home End", "first, last"]]],
];

function Help({ dialog }) {
  return html`<dialog ref=${dialog} class="help" aria-labelledby="help-title" onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
    <header><h2 id="help-title">Keys</h2><button class="icon-button" aria-label="Close" onClick=${() => dialog.current.close()}><${Icon} name="close" /></button></header>
    <div class="help-columns">${KEYS.map(([title, keys]) => html`<section key=${title}><h3>${title}</h3><dl>${keys.map(([key, words]) => html`<div key=${key}><dt>${key.split(" ").map((one) => html`<kbd>${one}</kbd>`)}</dt><dd>${words}</dd></div>`)}</dl></section>`)}</div>
  </dialog>`;
}

const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
