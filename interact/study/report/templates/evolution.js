// The page of a study: two runs side by side, a prompt, and a slider that moves through training.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const CLASSES = ["removed", "preserved", "emerged"];
const chosen = new Set(), off = new Set();
const state = {left: data.beside[0], right: data.beside[1], sample: 0, at: 0};
const METRICS = [
  ["strength", "Strength", "Total strength of each class: the sum of |effect|, mean over prompts.", [["strength_noise", "noise alone"], ["strength_certain", "certain ones", true]]],
  ["strength_normalised", "Strength, normalised", "Strength divided by |v(N) − v(∅)|, so that the scale of the scores does not matter.", [["strength_normalised_noise", "noise alone"]]],
  ["count", "Number", "Salient interactions of each class, mean over prompts.", [["count_noise", "noise alone"], ["count_certain", "certain ones", true]]],
  ["gamma", "Generalisability γ", "The share of a class's strength in interactions that a second model has too, with the same sign.", [["gamma_permuted", "players permuted"], ["gamma_certain", "certain ones", true]]],
  ["rho", "Non-cancellation ρ", "|sum of effects| over the sum of |effects|: 0 where they cancel, 1 where all agree.", [["rho_permuted", "signs permuted"], ["rho_noise", "noise alone"], ["rho_certain", "certain ones", true]]],
  ["contribution", "Contribution per interaction", "Sum of a class's effects, with their signs, divided by their number.", []],
  ["cross_entropy", "Cross-entropy from one class alone", "How well a class alone predicts the answer; lower is better.", [["cross_entropy_model", "the whole model"]]],
  ["cross_entropy_bias", "Cross-entropy from one class and v(∅)", "The same, with the score without any word added.", [["cross_entropy_model", "the whole model"]]],
  ["planted_share", "Share of strength on the planted word", "The share of strength in interactions that contain the planted word. It should grow if the model learns the leak.", []],
];
// The colours of losses: those of a whole response, of the label, of the end of the text.
const LOSS_KINDS = {heldout_loss: "preserved", validation_label_loss: "emerged", test_label_loss: "preserved", test_end_loss: "removed"};
const steps = [...new Set(data.runs.flatMap((run) => run.steps))].sort((a, b) => a - b);
const sides = () => [["left", data.runs[state.left]], ["right", data.runs[state.right]]].filter(([, run]) => run);
const step = () => steps[state.at];
const position = (run, s) => (run.logarithmic ? Math.log1p(s) : s);

function axis(run) {
  const own = run.steps.length ? run.steps : [0], x = [position(run, own[0]), position(run, own.at(-1))];
  const ticks = [];
  for (const s of [...own].reverse()) if (!ticks.length || ticks.at(-1)[0] - position(run, s) >= 0.085 * (x[1] - x[0])) ticks.push([position(run, s), String(s)]);
  return {x, xTicks: ticks, xLabel: run.logarithmic ? "step, log(1 + step)" : "step"};
}
function stages(run) {
  const {x} = axis(run), inside = (s) => Math.min(x[1], Math.max(x[0], position(run, s)));
  const shades = [], edges = [], spans = [];
  for (const [name, kind] of [["denoising_end", "denoising"], ["overfitting_start", "overfitting"]]) {
    const stage = run.stages[name];
    if (!stage || !known(stage[0])) continue;
    const at = inside(stage[0]), late = kind === "overfitting";
    shades.push(late ? {from: at, to: x[1], kind} : {from: x[0], to: at, kind});
    edges.push({at, dashed: late});
    if (known(stage[1]) && known(stage[2])) spans.push({from: inside(stage[1]), to: inside(stage[2])});
  }
  return {shades, edges, spans};
}

// A chart over the steps: clicking or arrow keys move the slider, pointing shows all figures of the nearest step.
function overSteps(title, run, series, y, yLabel) {
  const {picture, px} = lineChart(`${title}, ${run.label}. At step ${step()}: ` + read(series, run, step()).replaceAll("\n", "; "), {...axis(run), ...stages(run), y, yLabel, series, now: run.steps.includes(step()) ? position(run, step()) : null});
  picture.setAttribute("tabindex", "0");
  const nearest = (event) => {
    const box = picture.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * W;
    return run.steps.reduce((best, s) => (Math.abs(px(position(run, s)) - x) < Math.abs(px(position(run, best)) - x) ? s : best), run.steps[0]);
  };
  const tell = (s) => showTip(`step ${s}\n${read(series, run, s)}`, picture.getBoundingClientRect());
  picture.addEventListener("pointermove", (event) => tell(nearest(event)));
  picture.addEventListener("pointerleave", hideTip);
  picture.addEventListener("click", (event) => goTo(steps.indexOf(nearest(event))));
  picture.addEventListener("keydown", (event) => {
    const by = {ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1}[event.key];
    if (!by) return;
    event.preventDefault();
    const card = picture.closest(".card"), number = [...card.querySelectorAll("svg[tabindex]")].indexOf(picture), key = card.dataset.key;
    goTo(state.at + by);
    document.querySelector(`[data-key="${key}"]`).querySelectorAll("svg[tabindex]")[number].focus();
  });
  return picture;
}
const read = (series, run, s) => series.map((one) => [one, one.points.find((p) => p[0] === position(run, s))]).filter(([, p]) => p && known(p[1])).map(([one, p]) => `${one.name}: ${interval(p.slice(1))}`).join("\n") || "not measured";

function seriesOf(run, name, controls) {
  const points = (table, kind) => run.steps.map((s, i) => [position(run, s), ...table[kind][i]]);
  const table = run.metrics[name], kinds = CLASSES.filter((kind) => table[kind]);
  const found = (kinds.length ? kinds : table.all ? ["all"] : []).map((kind) => ({name: kind, kind, points: points(table, kind)}));
  const missing = [];
  // What is certain of a class is drawn where the study asked for it; the lack of a control is always told.
  for (const [control, words, optional] of controls) {
    const other = run.metrics[control], own = CLASSES.filter((kind) => other[kind] && table[kind]);
    if (own.length) own.forEach((kind) => found.push({name: `${words}, ${kind}`, group: words, kind, control: true, points: points(other, kind)}));
    else if (other.all) found.push({name: words, kind: "control", control: true, points: points(other, "all")});
    else if (found.length && !optional) missing.push(words);
  }
  return {found, missing};
}
// A control that is far from the claim must not flatten it: it may stretch the frame threefold, no more.
function range(lists) {
  const of = (control) => lists.flat().filter((one) => !!one.control === control).flatMap((one) => one.points.flatMap((p) => (control ? [p[1]] : p.slice(1)))).filter(known);
  const claims = of(false), least = Math.min(0, ...claims), most = Math.max(least + 1e-9, ...claims), span = most - least;
  const near = of(true).filter((v) => v >= least - span && v <= most + span), low = Math.min(least, ...near), high = Math.max(most, ...near);
  return [low - (low < 0 ? 0.05 * (high - low) : 0), high + 0.06 * (high - low)];
}

function metricCard([name, title, how, controls]) {
  const parts = sides().map(([, run]) => [run, seriesOf(run, name, controls)]);
  if (!parts.some(([, {found}]) => found.length)) return null;
  const y = range(parts.map(([, {found}]) => found)), pair = el("div", {class: "pair"}), entries = new Map();
  for (const [run, {found, missing}] of parts) {
    for (const one of found) entries.set(one.group || one.name, [one.group || one.name, one.group ? "control" : one.kind, one.control]);
    pair.append(el("figure", {}, el("figcaption", {}, run.label), found.length ? overSteps(title, run, found, y, "") : el("p", {}, "This was not measured in this run."), beyond(run, found, y), missing.length ? el("figcaption", {}, `Control not run: ${missing.join(", ")}.`) : null));
  }
  return el("div", {class: "card", "data-key": name}, el("h3", {}, title), el("p", {}, how), pair, legend([...entries.values()]), numbers(title, parts.map(([run, {found}]) => [run, found])));
}
function beyond(run, found, [low, high]) {
  const far = found.filter((one) => one.control).map((one) => [one, one.points.findLast((p) => known(p[1]))]).filter(([, p]) => p && (p[1] < low || p[1] > high));
  return far.length ? el("figcaption", {}, `Beyond the frame: ${far.map(([one, p]) => `${one.name} ${short(p[1])}`).join("; ")}.`) : null;
}
// The figures behind a chart, as a table that is made when it is opened.
function numbers(title, parts) {
  const box = el("details", {ontoggle: () => { if (box.open && box.children.length === 1) box.append(...parts.filter(([, found]) => found.length).map(([run, found]) => el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}, ${run.label}`}, el("table", {}, el("caption", {}, run.label),
    el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "Step"), ...found.map((one) => el("th", {scope: "col"}, one.name)))),
    el("tbody", {}, ...run.steps.map((s, i) => el("tr", {}, el("th", {scope: "row"}, String(s)), ...found.map((one) => el("td", {class: "num"}, interval(one.points[i].slice(1))))))))))); }}, el("summary", {}, "The numbers"));
  return box;
}

function lossCard() {
  const parts = sides().map(([, run]) => [run, Object.entries(run.losses).filter(([name]) => name === "train_loss" || name in LOSS_KINDS).map(([name, rows]) => ({name: name.replaceAll("_", " ").replace("heldout", "held-out"), kind: LOSS_KINDS[name] || "all", points: rows.map(([s, v]) => [position(run, s), v]), quiet: rows.length > 20}))]);
  if (!parts.some(([, found]) => found.length)) return null;
  const y = range(parts.map(([, found]) => found)), pair = el("div", {class: "pair"}), entries = new Map();
  for (const [run, found] of parts) {
    found.forEach((one) => entries.set(one.name, [one.name, one.kind]));
    pair.append(el("figure", {}, el("figcaption", {}, run.label), found.length ? overSteps("Loss", run, found, y, "") : el("p", {}, "No loss was logged.")));
  }
  return el("div", {class: "card", "data-key": "losses"}, el("h3", {}, "Losses"), el("p", {}, "Cross-entropy of the whole response in training, and of the label and of the end of the text on held-out data. A stopping rule is chosen on the validation set and judged on the test set. Full vertical line: denoising ends; dashed: overfitting starts; each with its interval."), pair, legend([...entries.values()]), lossNumbers(parts));
}
function lossNumbers(parts) {
  return numbers("Losses", parts.map(([run, found]) => [{...run, steps: run.steps}, found.map((one) => ({...one, points: run.steps.map((s) => one.points.find((p) => p[0] === position(run, s)) || [position(run, s), null])}))]));
}

function orderCards() {
  const box = el("div", {});
  for (const [, run] of sides()) {
    const i = run.steps.indexOf(step());
    const noisy = [...CLASSES, "all"].filter((kind) => run.noise[kind].length);
    const panels = CLASSES.filter((kind) => run.orders[kind].length).map((kind) => [kind, run.orders[kind], kind]);
    if (!panels.length) continue;
    // Noise that is not told apart by class has a panel of its own.
    if (noisy.length === 1 && noisy[0] === "all") panels.push(["noise alone (control)", [], "all"]);
    const quad = el("div", {class: "quad"});
    for (const [title, sums, kind] of panels) {
      const noise = run.noise[kind], orders = [...new Set([...sums, ...noise].flatMap((s) => Object.keys(s)))].sort((a, b) => a - b);
      const largest = (list) => Math.max(0, ...list.flatMap((s) => Object.values(s).flat()).filter(known).map(Math.abs));
      const claim = largest(sums), most = 1.05 * (claim ? Math.min(Math.max(claim, largest(noise)), 3 * claim) : largest(noise)) || 1;
      const here = (i >= 0 && sums[i]) || {}, beside = (i >= 0 && noise[i]) || {};
      const bars = orders.map((order) => [order, ...(here[order] || [0, 0]).map((v) => v ?? 0)]);
      const told = bars.map(([o, p, m]) => `order ${o} ${signed(p)} and ${signed(m)}` + (beside[o] ? `, noise alone ${signed(beside[o][0])} and ${signed(beside[o][1])}` : "")).join("; ");
      quad.append(el("figure", {}, el("figcaption", {}, title), barChart(`${title}, step ${step()}: ${told}`, bars, {kind, limit: [-most, most], xLabel: "order", yLabel: "", noise: orders.map((o) => beside[o])})));
    }
    const when = run.steps.filter((_, k) => noisy.some((kind) => Object.keys(run.noise[kind][k] || {}).length));
    const control = noisy.length ? `Dashed outlines show what noise alone gives (control, run at step ${when.join(", ")}). Open outlines go beyond the frame.` : "The noise control was not run.";
    box.append(el("div", {class: "card", style: "margin-bottom:1.1rem"}, el("h3", {}, `Effects of each order, ${run.label}, step ${step()}`), el("p", {}, `Sums of positive and of negative effects, by the number of words that act together. ${i < 0 ? "This run was not followed at this step. " : ""}${control}`), quad));
  }
  return box;
}

function faithCards() {
  const box = [];
  for (const [, run] of sides()) {
    const cell = cellOf(run), i = run.steps.indexOf(step()), curve = i < 0 ? null : run.sparsity[i], pair = el("div", {class: "quad"});
    if (cell) pair.append(...fidelityView(cell));
    if (curve && curve.points.length) {
      const last = Math.log10(Math.max(curve.size, 2)), ticks = [0, 1, 2, 3, 4, 5].filter((p) => p <= last).map((p) => [p, String(10 ** p)]);
      const {picture} = lineChart(`Sparsity: ${curve.salient} of ${curve.size} interactions are salient`, {x: [0, last], xTicks: ticks, y: [1e-4, 1], logarithmic: true, xLabel: "nonzero interactions, strongest first", yLabel: "|I| / max |I|", series: [{kind: "all", quiet: true, points: curve.points.map(([rank, v]) => [Math.log10(rank), known(v) ? Math.max(v, 1e-4) : v])}]});
      pair.append(el("figure", {}, picture, el("figcaption", {}, `${curve.salient} of ${curve.size} nonzero interactions are salient.`)));
    }
    if (pair.children.length) box.push(el("div", {class: "card"}, el("h3", {}, `${run.label}, step ${step()}`), pair));
  }
  return box.length ? box : [el("p", {class: "how"}, "No result can be shown at this step.")];
}

const cellOf = (run) => data.cells[`${data.runs.indexOf(run)} ${step()} ${state.sample}`];
function draw() {
  hideTip();
  const views = [], shared = [];
  $("step").value = state.at;
  $("step-value").textContent = steps.length ? String(step()) : "none";
  $("step").setAttribute("aria-valuetext", `step ${step()}`);
  for (const side of ["left", "right"]) {
    const pane = document.querySelector(`[data-side=${side}]`), run = data.runs[state[side]];
    const cell = run && cellOf(run);
    if (!run) pane.replaceChildren();
    else if (cell) {
      views.push(promptView(cell, chosen, `${run.label}, step ${step()}`, off, () => views.forEach((view) => view.retell())));
      shared.push([cell, run.label]);
      pane.replaceChildren(views.at(-1));
    } else pane.replaceChildren(el("p", {class: "facts"}, `${run.label}: this prompt was not followed at step ${step()}, or its result cannot be read.`));
  }
  $("shared").replaceChildren(...(shared.length === 2 ? [el("h3", {}, `What both share, step ${step()}`), sharedView(shared.map((one) => one[0]), shared.map((one) => one[1]))] : []));
  $("orders").replaceChildren(orderCards());
  const open = [...document.querySelectorAll("#charts details[open]")].map((d) => d.closest(".card").dataset.key);
  const cards = [...METRICS.map(metricCard), lossCard()].filter(Boolean);
  $("charts").replaceChildren(...(cards.length ? cards : [el("p", {class: "how"}, "No figure was measured over the steps.")]));
  open.forEach((key) => { const box = document.querySelector(`[data-key="${key}"] details`); if (box) box.open = true; });
  $("faith").replaceChildren(...faithCards());
}
function goTo(at) {
  state.at = Math.max(0, Math.min(steps.length - 1, at));
  draw();
}
function options(id, labels, none) {
  labels.forEach((label, i) => $(id).append(el("option", {value: i}, label)));
  if (none) $(id).append(el("option", {value: ""}, none));
}

options("left", data.runs.map((run) => run.label));
options("right", data.runs.map((run) => run.label), "none");
options("sample", data.samples.map((name) => {
  const cell = Object.entries(data.cells).find(([key]) => key.endsWith(` ${data.samples.indexOf(name)}`));
  const text = cell ? cell[1].text.map((part) => part[0]).join("") : name;
  const signs = [...text];
  return signs.length > 60 ? `${signs.slice(0, 38).join("")}…${signs.slice(-20).join("")}` : text;
}));
$("left").value = state.left;
$("right").value = state.right ?? "";
if (data.left_out) $("bar").append(el("span", {class: "facts"}, `${data.left_out} more in the store`));
for (const side of ["left", "right"]) $(side).addEventListener("change", () => { state[side] = $(side).value === "" ? null : Number($(side).value); draw(); });
$("sample").addEventListener("change", () => { state.sample = Number($("sample").value); chosen.clear(); off.clear(); draw(); });
$("step").max = Math.max(0, steps.length - 1);
$("step").addEventListener("input", () => goTo(Number($("step").value)));
let timer = null;
$("play").addEventListener("click", () => {
  const stop = () => { clearInterval(timer); timer = null; $("play").textContent = "Play"; $("play").setAttribute("aria-pressed", "false"); };
  if (timer) return stop();
  if (state.at === steps.length - 1) goTo(0);
  $("play").textContent = "Stop";
  $("play").setAttribute("aria-pressed", "true");
  timer = setInterval(() => (state.at < steps.length - 1 ? goTo(state.at + 1) : stop()), 900);
});
goTo(steps.length - 1);
