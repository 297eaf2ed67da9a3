// Pictures as SVG. Every text goes in as text, never as markup; colours come from the style sheet, so that light, dark
// and print need no second drawing.
const NAMESPACE = "http://www.w3.org/2000/svg";
const W = 300, H = 190, LEFT = 42, RIGHT = 8, TOP = 10, BOTTOM = 34;
const DASHES = {removed: "5 2", preserved: "", emerged: "8 2 1.5 2", all: "", control: "1.5 2.5"};

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(NAMESPACE, tag), attributes, children);
const known = (value) => typeof value === "number";
const signed = (value) => (known(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2) : "none");
const short = (value) => (known(value) ? String(Number(value.toPrecision(3))).replace("-", "−") : "none");
const interval = ([value, low, high]) => short(value) + (known(value) && known(low) && known(high) ? ` (${short(low)} to ${short(high)})` : "");

const tip = document.getElementById("tip");
function showTip(text, place) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
  const x = Math.max(6, Math.min(place.left + place.width / 2 - box.width / 2, wide - box.width - 6));
  const above = place.top - box.height - 8;
  tip.style.left = `${x + scrollX}px`;
  tip.style.top = `${(above > 4 ? above : place.bottom + 8) + scrollY}px`;
}
function hideTip() { tip.hidden = true; }
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", hideTip, {passive: true});

function niceTicks(low, high, most = 5) {
  const raw = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(6)));
  return ticks;
}

function frame(title, {x, y, yLabel, xLabel, xTicks, logarithmic}) {
  const picture = svg("svg", {viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title});
  const px = (v) => LEFT + (x[1] > x[0] ? (v - x[0]) / (x[1] - x[0]) : 0.5) * (W - LEFT - RIGHT);
  const place = logarithmic ? (v) => Math.log10(Math.max(v, y[0])) : (v) => v;
  const [low, high] = [place(y[0]), place(y[1])];
  const py = (v) => H - BOTTOM - ((place(v) - low) / (high - low || 1)) * (H - TOP - BOTTOM);
  const ticks = logarithmic ? [1, 0.1, 0.01, 0.001, 1e-4].filter((v) => v >= y[0]) : niceTicks(...y);
  for (const v of ticks) {
    picture.append(svg("line", {class: "grid", x1: LEFT, x2: W - RIGHT, y1: py(v), y2: py(v)}),
      svg("text", {x: LEFT - 5, y: py(v) + 4, "text-anchor": "end"}, short(v)));
  }
  for (const [v, label] of xTicks) picture.append(svg("text", {x: px(v), y: H - BOTTOM + 14, "text-anchor": "middle"}, label));
  picture.append(svg("line", {class: "axis", x1: LEFT, x2: W - RIGHT, y1: H - BOTTOM, y2: H - BOTTOM}),
    svg("text", {x: (LEFT + W - RIGHT) / 2, y: H - 5, "text-anchor": "middle"}, xLabel));
  if (yLabel) picture.append(svg("text", {x: 0, y: 0, "text-anchor": "middle", transform: `translate(9 ${(H - BOTTOM + TOP) / 2}) rotate(-90)`}, yLabel));
  return {picture, px, py};
}

const path = (points, px, py) => points.map(([x, v], i) => `${i ? "L" : "M"}${px(x).toFixed(1)} ${py(v).toFixed(1)}`).join("");
function runsOf(points) {
  const parts = [[]];
  for (const point of points) known(point[1]) ? parts.at(-1).push(point) : parts.push([]);
  return parts.filter((part) => part.length);
}
function mark(kind, x, y, control) {
  const at = {class: control ? "control" : kind};
  if (control) return svg("path", {class: kind, d: `M${x - 2} ${y - 2}l4 4m0 -4l-4 4`, "stroke-width": 1});
  if (kind === "removed") return svg("rect", {...at, x: x - 2.6, y: y - 2.6, width: 5.2, height: 5.2});
  if (kind === "emerged") return svg("path", {...at, d: `M${x} ${y - 3.4}l3.2 5.8h-6.4z`});
  return svg("circle", {...at, cx: x, cy: y, r: 2.7});
}

// A series: {name, kind, control, points: [[x, value, low, high]], quiet: no marks}.
function lineChart(title, spec) {
  const {picture, px, py} = frame(title, spec);
  for (const {from, to, kind} of spec.shades || []) picture.append(svg("rect", {class: kind, x: px(from), y: TOP, width: Math.max(0, px(to) - px(from)), height: H - TOP - BOTTOM}));
  for (const {at, dashed} of spec.edges || []) picture.append(svg("line", {class: "edge", x1: px(at), x2: px(at), y1: TOP, y2: H - BOTTOM, "stroke-dasharray": dashed ? "4 3" : null}));
  for (const [i, {from, to}] of (spec.spans || []).entries()) picture.append(svg("line", {class: "edge", x1: px(from), x2: px(to), y1: H - BOTTOM - 3 - 4 * i, y2: H - BOTTOM - 3 - 4 * i, "stroke-width": 2.5}));
  for (const {kind, control, points: all, quiet} of spec.series) {
    const points = control ? all.map((p) => (p[1] < spec.y[0] || p[1] > spec.y[1] ? [p[0], null] : p)) : all;
    for (const part of runsOf(points)) {
      const banded = part.filter((p) => known(p[2]) && known(p[3]));
      if (!control && banded.length > 1) {
        const back = banded.map((p) => [p[0], p[2]]).reverse();
        picture.append(svg("path", {class: `band ${kind}`, d: `${path(banded.map((p) => [p[0], p[3]]), px, py)}${path(back, px, py).replace("M", "L")}Z`}));
      }
      picture.append(svg("path", {class: `line ${kind}`, d: path(part, px, py), "stroke-width": control ? 1.3 : 1.8, "stroke-dasharray": control ? DASHES.control : DASHES[kind] || null}));
      if (!quiet) part.forEach((p) => picture.append(mark(kind, px(p[0]), py(p[1]), control)));
    }
  }
  if (known(spec.now)) picture.append(svg("line", {class: "now", x1: px(spec.now), x2: px(spec.now), y1: TOP - 4, y2: H - BOTTOM}));
  return {picture, px};
}

// Bars: [[label, positive, negative, positiveLight, negativeLight]]; the light ones are stacked on.
function barChart(title, bars, {kind, limit, xLabel, yLabel, noise}) {
  const x = [0, bars.length], ticks = bars.map(([label], i) => [i + 0.5, label]);
  const every = Math.ceil(ticks.length / 12);
  const {picture, px, py} = frame(title, {x, y: limit, xLabel, yLabel, xTicks: ticks.filter((_, i) => i % every === 0)});
  const width = (px(1) - px(0)) * 0.72;
  bars.forEach(([, positive, negative, more, less], i) => {
    const bar = (from, to, faint, sign) => {
      if (!known(to) || to === from) return;
      const top = Math.min(py(from), py(to));
      picture.append(svg("rect", {class: kind === "sign" ? sign : kind, stroke: "none", opacity: faint ? 0.45 : 1, x: px(i + 0.5) - width / 2, y: top, width, height: Math.abs(py(to) - py(from))}));
    };
    bar(0, positive, false, "positive");
    bar(0, negative, false, "negative");
    if (known(more)) bar(positive, positive + more, true, "positive");
    if (known(less)) bar(negative, negative + less, true, "negative");
    for (const v of (noise && noise[i]) || []) {
      if (!known(v) || !v) continue;
      // A box that leaves the frame stays open.
      const left = px(i + 0.5) - width * 0.6, end = py(Math.max(limit[0], Math.min(limit[1], v))), cut = v < limit[0] || v > limit[1];
      picture.append(svg("path", {class: "outline", d: `M${left} ${py(0)}V${end}${cut ? "m" : "h"}${width * 1.2} 0V${py(0)}`}));
    }
  });
  picture.append(svg("line", {class: "axis", x1: LEFT, x2: W - RIGHT, y1: py(0), y2: py(0)}));
  return picture;
}

// Words on the left, a gate for each interaction, its effect as a bar on the right. Square gates are AND, round ones OR.
function logicModel(cell, terms) {
  const rows = Math.max(cell.players.length, terms.length, 2), height = 24 * rows + 12, wide = 420;
  const wordY = (i) => 18 + (cell.players.length > 1 ? (i / (cell.players.length - 1)) * (height - 36) : height / 2 - 18);
  const termY = (i) => 18 + (terms.length > 1 ? (i / (terms.length - 1)) * (height - 36) : height / 2 - 18);
  const longest = Math.max(...terms.map((t) => Math.abs(t[2])), 1e-12);
  const picture = svg("svg", {viewBox: `0 0 ${wide} ${height}`, role: "img", class: "logic",
    "aria-label": `AND-OR logic model of the ${terms.length} strongest interactions: ` + terms.map((t) => `${phrase(cell, t)} ${signed(t[2])}${standing(cell, t)}`).join("; ")});
  cell.labels.forEach((text, i) => picture.append(svg("text", {class: "word", x: 104, y: wordY(i) + 4, "text-anchor": "end"}, text)));
  terms.forEach(([or, players, effect], row) => {
    const kind = effect < 0 ? "negative" : "positive", share = Math.abs(effect) / longest, y = termY(row);
    const sure = cell.certain === null || terms[row][4] === "certain", dash = sure ? null : "3 2", pale = sure ? "" : " unsure";
    const single = players.length === 1, group = svg("g", {class: kind + pale, "data-term": row}), wires = svg("g", {class: kind + pale, "data-term": row});
    for (const i of players) {
      const end = single ? 250 : 170, bend = (end - 110) / 2;
      wires.append(svg("path", {class: `wire ${kind}`, d: `M110 ${wordY(i)}C${110 + bend} ${wordY(i)} ${end - bend} ${y} ${end} ${y}`, opacity: 0.3 + 0.55 * share, "stroke-width": 0.8 + 2 * share}));
    }
    if (!single) {
      group.append(svg("path", {class: `wire ${kind}`, d: `M170 ${y}H250`, "stroke-width": 0.8 + 2 * share}),
        svg("rect", {class: "gate", x: 154, y: y - 9, width: 36, height: 18, rx: or ? 9 : 1.5, stroke: "currentColor", "stroke-dasharray": dash, style: "stroke:var(--c)"}),
        svg("text", {x: 172, y: y + 4, "text-anchor": "middle", stroke: "none"}, or ? "OR" : "AND"));
    }
    group.append(svg("rect", {class: kind, x: 250, y: y - 6, width: Math.max(1, 112 * share), height: 12, stroke: sure ? "none" : "var(--c)", "stroke-dasharray": dash, "fill-opacity": sure ? null : 0.3}),
      svg("text", {x: 256 + 112 * share, y: y + 4, stroke: "none"}, signed(effect)));
    // Wires lie below all gates.
    picture.prepend(wires);
    picture.append(group);
  });
  return picture;
}
const phrase = (cell, [or, players]) => players.map((i) => cell.players[i]).join(or ? " or " : " and ");
