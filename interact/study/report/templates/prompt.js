// One prompt: its words as chips, its logic model, its interactions, its orders and fidelity.
const CLASS_OF = {removed: "removed", preserved: "preserved", emerged: "emerged"};
const NOISES = {soft: "soft noise", box: "noise in a box", exact: "exact matching"};
const GATES = 10, LISTED = 12;

// `chosen` and `off` are Sets of players, kept by the caller so that they outlive a change of step. `changed` is called
// when a word was switched on or off, and calls `retell` of every view that has the Set; without it there is this one.
function promptView(cell, chosen, heading, off = new Set(), changed = null) {
  const view = el("div", {});
  const known = (t) => [...chosen].every((i) => t[1].includes(i));
  const single = new Map(cell.terms.filter((t) => t[1].length === 1).map((t) => [t[1][0], t]));
  const alone = new Map([...single].map(([i, t]) => [i, t[2]]));
  const longest = Math.max(...cell.terms.map((t) => Math.abs(t[2])), 1e-12);
  const list = el("div", {"aria-live": "polite"}), model = el("div", {});
  const chips = [], panel = switches(cell, off, () => (changed || view.retell)());

  function refresh() {
    chips.forEach(([chip, i]) => chip.setAttribute("aria-pressed", String(chosen.has(i))));
    const top = cell.terms.filter(known);
    model.replaceChildren(cell.terms.length ? logicModel(cell, cell.terms.slice(0, GATES)) : el("p", {class: "facts"}, "The score does not depend on the players."));
    const silent = (term) => (chosen.size && !known(term)) || !speaks(term, off);
    model.querySelectorAll("[data-term]").forEach((group) => group.classList.toggle("faded", silent(cell.terms[group.dataset.term])));
    list.replaceChildren(termTable(cell, top, chosen));
  }
  function describe(i) {
    const own = cell.terms.filter((t) => t[1].includes(i) && t[1].length > 1);
    const best = own[0] ? `\nstrongest: ${phrase(cell, own[0])} ${signed(own[0][2])}` : "";
    return `${cell.players[i]}\nalone ${alone.has(i) ? signed(alone.get(i)) + standing(cell, single.get(i)) : "nothing"}; in ${own.length} more of the ${cell.terms.length} interactions listed${best}`;
  }

  const prompt = el("p", {class: "prompt", dir: "auto"});
  for (const [text, i] of cell.text) {
    if (i < 0) { prompt.append(text); continue; }
    const effect = alone.get(i) || 0;
    const ring = cell.certain === null || !single.has(i) ? "" : single.get(i)[4] === "certain" ? "ringed" : "dashed";
    const chip = el("button", {type: "button", class: `chip ${effect > 0 ? "positive" : effect < 0 ? "negative" : ""} ${ring}`, "data-player": i, "aria-pressed": "false", "aria-describedby": "tip",
      onclick: () => { chosen.has(i) ? chosen.delete(i) : chosen.add(i); refresh(); },
      onpointerenter: () => showTip(describe(i), chip.getBoundingClientRect()), onpointerleave: hideTip,
      onfocus: () => showTip(describe(i), chip.getBoundingClientRect()), onblur: hideTip}, text);
    chip.style.setProperty("--w", (0.1 + 0.5 * Math.abs(effect) / longest).toFixed(2));
    chips.push([chip, i]);
    prompt.append(chip);
  }
  if (heading) view.append(el("h3", {}, heading));
  fill(view, {}, [prompt, el("p", {class: "facts"}, `${cell.target ? `Answer “${cell.target.trim()}”: ` : ""}${cell.unit} ${signed(cell.total)} with all words, ${signed(cell.bias)} with none; `
    + `${cell.certain === null ? "" : `${cell.certain} certain of `}${cell.salient} salient interactions (above ${short(cell.tau)} of the strongest); total strength ${short(cell.strength)}${cell.noise ? `, ${NOISES[cell.noise]}` : ""}, certified within ${short(Math.max(100 * cell.gap, 0.001))} %.`),
    cell.certain === null ? null : el("p", {class: "facts"}, el("span", {class: "key ringed"}, "Ringed"), " words have a certain effect alone. The effects of ", el("span", {class: "key dashed"}, "dashed"), " words, pale bars and pale rows are not certain: in another split that costs nearly as little they are missing or have the other sign."), panel.view, el("div", {class: "split"}, model, list)]);
  view.append(interactionTree(cell));
  if (cell.removed.length) view.append(removedList(cell));
  view.retell = () => {
    chips.forEach(([chip, i]) => chip.classList.toggle("off", off.has(i)));
    panel.retell();
    refresh();
  };
  view.retell();
  return view;
}

// What is known of a term, in words; nothing where it was not asked.
const standing = (cell, term) => (cell.certain === null ? "" : `, ${term[4] || "not salient"}`);

function termTable(cell, terms, chosen) {
  const words = [...chosen].map((i) => cell.players[i]).join(" and ");
  const caption = chosen.size ? `${terms.length} of ${cell.terms.length} interactions contain ${words}` : `The ${Math.min(LISTED, terms.length)} strongest interactions`;
  const table = el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...["Effect", "Gate", "Words", ...(cell.classed ? ["Since step 0"] : []), ...(cell.certain === null ? [] : ["Certainty"])].map((name) => el("th", {scope: "col"}, name)))));
  const body = el("tbody", {});
  for (const term of chosen.size ? terms : terms.slice(0, LISTED)) body.append(termRow(cell, term));
  table.append(body);
  return table;
}

function termRow(cell, term, unknown = "not salient") {
  const [or, players, effect, name, status, sure] = term, kind = name || (cell.classed ? "not salient" : "");
  const row = el("tr", {}, el("td", {class: "num"}, signed(effect)), el("td", {class: "gatename"}, players.length === 1 ? "alone" : or ? "OR" : "AND"), el("td", {dir: "auto"}, players.map((i) => cell.players[i] ?? `player ${i}`).join(or ? " | " : " & ")));
  if (kind) row.append(el("td", {}, CLASS_OF[kind] ? el("span", {class: `tag ${CLASS_OF[kind]}`}, sure ? `certainly ${kind}` : kind) : el("span", {class: "weak"}, kind)));
  if (cell.certain !== null) row.append(el("td", {}, el("span", {class: `tag sure ${status || "below"}`}, status || unknown)));
  if (cell.certain !== null && status !== "certain") row.classList.add("pale");
  return row;
}

function removedList(cell) {
  const body = el("tbody", {});
  cell.removed.forEach((term) => body.append(termRow(cell, term, "not known")));
  return el("details", {}, el("summary", {}, `${cell.removed.length} removed since step 0, with their effect then`), el("table", {}, body));
}

function orderView(cell) {
  const bars = cell.orders.map(([a, b, c, d], i) => [String(i + 1), a, b, c, d]);
  const high = Math.max(...bars.map((b) => b[1] + b[3]), 1e-9), low = Math.min(...bars.map((b) => b[2] + b[4]), 0);
  return el("figure", {}, barChart("Sum of effects of each order", bars, {kind: "sign", limit: [low * 1.05, high * 1.05], xLabel: "order (light: OR)", yLabel: "sum of effects"}),
    el("figcaption", {}, "The order is the number of words that act together."));
}

function fidelityView(cell) {
  const {values, rebuilt, ranks, counts, widest, terms, r2, size} = cell.fidelity;
  const all = [...values, ...rebuilt].filter(known), span = Math.max(...all) - Math.min(...all) || 1;
  const line = lineChart(`Fidelity: ${terms} interactions rebuild ${size} scores, R squared ${short(r2)}`, {
    x: [0, Math.max(1, size - 1)], y: [Math.min(...all) - 0.05 * span, Math.max(...all) + 0.05 * span], xLabel: "masked inputs, sorted by score", yLabel: cell.unit, xTicks: [[0, "1"], [size - 1, String(size)]],
    series: [{kind: "all", quiet: true, points: ranks.map((r, i) => [r, values[i]])}, {kind: "emerged", points: ranks.map((r, i) => [r, rebuilt[i]]), quiet: true}]});
  const total = counts.reduce((a, b) => a + b, 0) || 1, edge = (i) => short(((2 * i) / 20 - 1) * widest);
  const shares = counts.map((count, i) => [i % 5 === 0 ? edge(i) : "", count / total, 0]);
  return [el("figure", {}, line.picture, legend([["true score", "all", false, true], ["rebuilt", "emerged", false, true]]), el("figcaption", {}, `${terms} interactions rebuild ${size} scores with R² ${short(r2)}.`)),
    el("figure", {}, barChart("Histogram of relative errors", shares, {kind: "preserved", limit: [0, Math.max(...shares.map((s) => s[1])) * 1.05], xLabel: "error / |v(N) − v(∅)|", yLabel: "share"}), el("figcaption", {}, `Errors of all masked inputs; the largest is ${short(widest)}.`))];
}

function legend(entries) {
  const box = el("div", {class: "legend"});
  for (const [label, kind, control, quiet] of entries) {
    const sample = svg("svg", {viewBox: "0 0 30 10", "aria-hidden": "true"}, svg("path", {class: `line ${kind}`, d: "M1 5H29", "stroke-width": control ? 1.3 : 1.8, "stroke-dasharray": control ? DASHES.control : DASHES[kind] || null}));
    if (!quiet) sample.append(mark(kind, 15, 5, control));
    box.append(el("span", {}, sample, label));
  }
  return box;
}
