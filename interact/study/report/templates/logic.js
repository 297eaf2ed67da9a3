// What the logical model says without some words, beside the stored score; the tree of interactions; what two models share.
const salientTerms = (cell) => cell.terms.filter((_, i) => !cell.weak.includes(i)).concat(cell.rest);
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const speaks = ([or, players], off) => (or ? players.some((i) => !off.has(i)) : players.every((i) => !off.has(i)));
// phi(S) = v(none) + the effects of the AND terms inside S and of the OR terms that S meets.
const logicalAnswer = (cell, off) => salientTerms(cell).reduce((sum, t) => sum + (speaks(t, off) ? t[2] : 0), cell.bias);

function storedScore(cell, off) {
  if (!cell.scores) return null;
  const [low, high, packed] = cell.scores;
  let mask = 0;
  cell.players.forEach((_, i) => { if (!off.has(i)) mask |= 1 << i; });
  if (!cell.bytes) Object.defineProperty(cell, "bytes", {value: atob(packed)});
  return low + ((high - low) * (cell.bytes.charCodeAt(2 * mask) + 256 * cell.bytes.charCodeAt(2 * mask + 1))) / 65535;
}

// One switch a word; `off` is kept by the caller, and `changed` is called when a word was switched.
function switches(cell, off, changed) {
  const answer = el("p", {class: "facts", "aria-live": "polite"}), buttons = [];
  const all = (text, keep) => el("button", {type: "button", class: "all", onclick: () => { off.clear(); if (!keep) cell.players.forEach((_, i) => off.add(i)); changed(); }}, text);
  cell.players.forEach((word, i) => buttons.push(el("button", {type: "button", class: "switch", role: "switch", "data-switch": i, onclick: () => { off.has(i) ? off.delete(i) : off.add(i); changed(); }}, word)));
  const box = el("div", {class: "switches", role: "group", "aria-label": "Words that are present"}, el("span", {class: "weak"}, "Switch words off: "), ...buttons, all("all", true), all("none", false));
  function retell() {
    buttons.forEach((button, i) => button.setAttribute("aria-checked", String(!off.has(i))));
    const said = logicalAnswer(cell, off), stored = storedScore(cell, off), odds = cell.odds;
    const chance = (v) => (odds ? ` (probability ${short(1 / (1 + Math.exp(-v)))})` : "");
    const still = salientTerms(cell).filter((t) => speaks(t, off)).length;
    answer.textContent = `${off.size ? `Without ${[...off].sort((a, b) => a - b).map((i) => cell.players[i]).join(", ")}` : "With all words"}: the logical model says ${signed(said)}${chance(said)} from ${still} of its ${counted(salientTerms(cell).length, "interaction")}; `
      + (known(stored) ? `the model scored ${signed(stored)}${chance(stored)}, a difference of ${signed(said - stored)}.` : "the score of the model is not stored.");
  }
  return {view: el("div", {}, box, answer), retell};
}

// Each salient interaction hangs below the largest one whose words it holds, the stronger of two; else below v(none).
function interactionTree(cell) {
  const terms = salientTerms(cell).map((t, place) => ({term: t, place, below: []}));
  const inside = (a, b) => a.term[1].length < b.term[1].length && a.term[1].every((i) => b.term[1].includes(i));
  const roots = [];
  for (const one of terms) {
    const parents = terms.filter((other) => inside(other, one)).sort((a, b) => b.term[1].length - a.term[1].length || Math.abs(b.term[2]) - Math.abs(a.term[2]));
    (parents[0]?.below ?? roots).push(one);
  }
  const line = ({term, below}, above) => {
    const [or, players] = term, added = players.filter((i) => !above.includes(i)).map((i) => cell.players[i]);
    const gate = players.length === 1 ? "" : or ? " (OR)" : " (AND)";
    const item = el("li", {}, `${above.length ? "with " : ""}${added.join(above.length ? " and " : or ? " or " : " and ")}${gate} ${signed(term[2])}${term.length > 4 ? standing(cell, term) : ""}`);
    if (below.length) item.append(el("ul", {}, ...below.map((next) => line(next, players))));
    return item;
  };
  return el("details", {class: "tree"}, el("summary", {}, `${counted(terms.length, "salient interaction")} as a tree`), el("ul", {}, el("li", {}, `no word ${signed(cell.bias)}`, el("ul", {}, ...roots.map((one) => line(one, []))))));
}

// What two models share of one prompt: interactions of the same words and gate.
function sharedView(cells, labels) {
  if (JSON.stringify(cells[0].players) !== JSON.stringify(cells[1].players)) return el("p", {class: "facts"}, "The two results have different players, so they cannot be compared.");
  const named = cells.map((cell) => new Map(salientTerms(cell).map((t) => [`${t[0]} ${t[1]}`, t])));
  const both = [...named[0].keys()].filter((key) => named[1].has(key)), alike = both.filter((key) => named[0].get(key)[2] * named[1].get(key)[2] > 0);
  const share = (side) => { const all = [...named[side].values()].reduce((sum, t) => sum + Math.abs(t[2]), 0); return all ? alike.reduce((sum, key) => sum + Math.abs(named[side].get(key)[2]), 0) / all : 0; };
  const rows = [...new Set([...named[0].keys(), ...named[1].keys()])].map((key) => [key, ...named.map((side) => side.get(key))]);
  const size = ([, a, b]) => Math.max(Math.abs(a?.[2] ?? 0), Math.abs(b?.[2] ?? 0));
  rows.sort((a, b) => size(b) - size(a));
  const what = ([, a, b]) => (a && b ? (a[2] * b[2] > 0 ? "both" : "both, opposite signs") : a ? `only ${labels[0]}` : `only ${labels[1]}`);
  const body = el("tbody", {}, ...rows.slice(0, LISTED).map((row) => { const [or, players] = row[1] || row[2]; return el("tr", {}, el("td", {dir: "auto"}, players.map((i) => cells[0].players[i]).join(or ? " | " : " & ")), el("td", {class: "num"}, row[1] ? signed(row[1][2]) : "none"), el("td", {class: "num"}, row[2] ? signed(row[2][2]) : "none"), el("td", {}, what(row))); }));
  const sentence = `Salient interactions shared with the same sign: ${alike.length}, with the other sign: ${both.length - alike.length}, of ${labels[0]} alone: ${named[0].size - both.length}, of ${labels[1]} alone: ${named[1].size - both.length}. The shared ones are ${short(100 * share(0))} % of the strength of ${labels[0]} and ${short(100 * share(1))} % of that of ${labels[1]}.`;
  return el("div", {}, el("p", {class: "facts"}, sentence), el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "What both share"}, el("table", {}, el("caption", {}, `The ${Math.min(LISTED, rows.length)} strongest of both`), el("thead", {}, el("tr", {}, ...["Words", ...labels, "Found in"].map((name) => el("th", {scope: "col"}, name)))), body)));
}
