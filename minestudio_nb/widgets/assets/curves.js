// Curves: linked cursors and zoom, smoothing, markers for what happened, and what each metric means.

// Each metric with the name that people read; a chart without data is not shown.
const CHARTS = [
  { title: "Return", metrics: { "episode/return_window": "latest episodes", "episode/return": "one iteration" }, tasks: true, wide: true },
  { title: "Episode length", metrics: { "episode/length_steps": "length" } },
  { title: "Losses", metrics: { "ppo/policy_loss": "policy", "ppo/value_loss": "value" } },
  { title: "KL", metrics: { "ppo/approx_kl_nats": "new", "ppo/kl_reference_nats": "reference" } },
  { title: "Entropy", metrics: { "ppo/entropy_nats": "entropy" } },
  { title: "Clip fraction", metrics: { "ppo/clip_fraction": "clipped" } },
  { title: "Explained variance", metrics: { "ppo/explained_variance": "explained" } },
  { title: "Effective sample size", metrics: { "ppo/effective_sample_size": "share of the batch" } },
  { title: "Throughput", metrics: { "rollout/steps_per_second": "env", "train/samples_per_second": "learner" } },
  { title: "Staleness", metrics: { "rollout/staleness": "staleness" } },
];
const COLOURS = ["#2f7ed8", "#e07b39", "#3a9d5d", "#9b5fc0", "#c94f6d", "#7a8794"];
// The same as in minestudio_nb/contracts/looks.py, which also says what is marked.
const MARKS = {
  edit: { colour: "#9b5fc0", sign: "▲" },
  checkpoint: { colour: "#3a9d5d", sign: "◆" },
  fault: { colour: "#d64545", sign: "✕" },
};
const SIGN_ROOM = 9; // pixels between two signs; what is nearer shares one
const MANY_MARKS = 40;
const RANGES = [["1", "whole run"], ["0.5", "latest half"], ["0.1", "latest tenth"]];

/** Exponential smoothing that passes over gaps; weight 0 leaves the values as they are. */
function smoothed(values, weight) {
  if (!weight) return values.map((value) => (Number.isFinite(value) ? value : null));
  let mean = 0;
  let total = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return null;
    mean = mean * weight + value * (1 - weight);
    total = total * weight + (1 - weight);
    return mean / total;
  });
}

/** 20000 -> "20k", for the labels of an axis. */
function shortNumber(value) {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e3) return `${Number((value / 1e3).toPrecision(3))}k`;
  return formatNumber(value);
}

/** The limits of a vertical axis: some room around the values, and more around values that do not change. */
function verticalRange(low, high) {
  if (low === null || high === null) return [0, 1];
  const spread = high - low > 1e-9 * Math.abs(high) ? high - low : 0; // smoothing a constant leaves crumbs
  const room = spread * 0.08 || Math.abs(high) * 0.1 || 0.5;
  return [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
}

definePanel("curves", "Curves", ({ store, root }) => {
  const area = h("div", { class: "msnb-charts" });
  const empty = h("p", { class: "msnb-empty" }, "The curves begin with the first finished iteration.");
  const charts = [];
  let zoom = null;
  let passing = false;
  let marks = [];

  const axis = h("select", { "aria-label": "horizontal axis", onchange: rebuild });
  for (const [value, text] of [["iteration", "iterations"], ["env_steps", "environment steps"], ["time", "time"]]) axis.append(h("option", { value }, text));
  const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, "aria-label": "smoothing", oninput: () => { setText(weightText, weight.value); refresh(); } });
  const weightText = h("output", { class: "msnb-weight" }, "0");
  const range = h("select", { "aria-label": "part of the run", title: "Drag over a chart to see a part of it", onchange: () => { zoom = null; refresh(); } });
  for (const [value, text] of [...RANGES, ["zoom", "zoomed"]]) range.append(h("option", { value, hidden: value === "zoom" }, text));

  // What happened, and where on the axis.

  /** Where on the axis the first point is whose ``column`` is at least ``value``. */
  function place(column, value) {
    const keys = store.columns[column];
    let low = 0;
    let high = keys.length - 1;
    if (high < 0 || keys[high] < value) return null;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (keys[middle] < value) low = middle + 1;
      else high = middle;
    }
    return store.columns[axis.value][low];
  }

  function findMarks() {
    const found = [];
    const add = (kind, text, iteration, time) => {
      const x = iteration === null || iteration === undefined ? place("time", time) : place("iteration", iteration);
      if (x !== null) found.push({ x, text, ...MARKS[kind] });
    };
    for (const edit of store.edits) {
      if (edit.status === "applied") add("edit", `${edit.key} = ${settingText(edit.value)}`, edit.iteration);
    }
    for (const event of store.events) {
      // Edits have a list of their own, which is whole however many events there are.
      if (event.mark && event.mark !== "edit") add(event.mark, event.message, event.iteration, event.time);
    }
    marks = found.sort((a, b) => a.x - b.x);
  }

  /** Marks as signs on top with thin lines; many share signs, and have lines too faint to hide a curve. */
  function drawMarks(plot, wide) {
    const { ctx, bbox } = plot;
    const shown = marks.map((mark) => ({ ...mark, at: Math.round(plot.valToPos(mark.x, "x", true)) }))
      .filter(({ at }) => at >= bbox.left && at <= bbox.left + bbox.width);
    const many = shown.length > MANY_MARKS;
    const top = bbox.top + 8 * devicePixelRatio;
    ctx.save();
    ctx.textAlign = "center";
    ctx.font = `${9 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.globalAlpha = many ? 0.12 : 0.35;
    for (const { colour } of Object.values(MARKS)) { // one path for each colour: single ones cost ten times as much
      ctx.strokeStyle = colour;
      ctx.beginPath();
      for (const { at } of shown.filter((mark) => mark.colour === colour)) {
        ctx.moveTo(at + 0.5, bbox.top);
        ctx.lineTo(at + 0.5, bbox.top + bbox.height);
      }
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
    let last = -Infinity;
    for (const { at, colour, sign } of many && !wide ? [] : shown) {
      if (at - last < SIGN_ROOM * devicePixelRatio) continue;
      last = at;
      ctx.fillStyle = colour;
      ctx.fillText(sign, at, top);
    }
    ctx.restore();
  }

  // What a chart shows.

  function linesOf({ metrics, tasks }) {
    const lines = Object.entries(metrics).filter(([name]) => store.columns[name]).map(([name, label]) => ({ name, label }));
    const each = tasks ? store.names.filter((name) => name.startsWith("task/")).map((name) => ({ name, label: name.slice(5) })) : [];
    return each.length > 1 ? [...lines, ...each] : lines;
  }

  /** The deviations that belong to a line: those of its task, or of the only task. */
  function spreadOf(name) {
    if (name.startsWith("task/")) return store.columns[name.replace("task/", "task_std/")];
    const all = name === "episode/return_window" ? store.names.filter((each) => each.startsWith("task_std/")) : [];
    return all.length === 1 ? store.columns[all[0]] : null;
  }

  function dataOf(chart) {
    const data = [store.columns[axis.value]];
    for (const { name } of chart.lines) {
      const line = smoothed(store.columns[name], Number(weight.value));
      const spread = spreadOf(name);
      data.push(line);
      if (!spread) continue;
      for (const sign of [1, -1]) {
        data.push(line.map((value, i) => (chart.log || value === null || !Number.isFinite(spread[i]) ? null : value + sign * spread[i])));
      }
    }
    if (!chart.log) return data;
    return data.map((values, i) => (i ? values.map((value) => (value > 0 ? value : null)) : values));
  }

  /** The numbers beside a chart's names: those under the cursor, or else the latest. */
  function showNumbers(chart) {
    const { plot } = chart;
    const at = plot.cursor.idx;
    chart.lines.forEach((line) => {
      const values = plot.data[line.column];
      let place = at === null || at === undefined ? values.length - 1 : at;
      while (place > 0 && (values[place] === null || values[place] === undefined)) place -= 1;
      const unit = (store.catalogue[line.name] || {}).unit;
      const value = formatNumber(values[place]);
      const room = chart.definition.title.length + value.length + (unit || "").length < 20;
      setText(line.number, unit && room && chart.lines.length === 1 && value !== "–" ? `${value} ${unit}` : value);
    });
    if (chart.definition.wide) showMark(plot);
  }

  /** What the mark means that the cursor is at. */
  function showMark(plot) {
    const { left } = plot.cursor;
    const near = left >= 0 ? marks.filter(({ x }) => Math.abs(plot.valToPos(x, "x") - left) < 5) : [];
    setText(told, near.slice(0, 3).map(({ sign, text }) => `${sign} ${text}`).join("   ") + (near.length > 3 ? `   and ${near.length - 3} more` : ""));
  }

  function build(chart) {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--msnb-soft").trim() || "#333";
    const grid = style.getPropertyValue("--msnb-grid").trim() || "#8883";
    const series = [{}];
    const bands = [];
    chart.lines = linesOf(chart.definition);
    chart.lines.forEach((line, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const faint = line.name === "episode/return";
      line.column = series.length;
      line.number = h("span", { class: "msnb-value" });
      series.push({ stroke: colour, width: faint ? 1 : 1.8, alpha: faint ? 0.5 : 1, spanGaps: true, points: { show: store.length < 2 } });
      if (!spreadOf(line.name)) return;
      series.push({ stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } });
      bands.push({ series: [series.length - 2, series.length - 1], fill: `${colour}22` });
    });
    const alone = chart.lines.length === 1;
    chart.keys.replaceChildren(...chart.lines.map((line, i) => h("span", { class: "msnb-key", title: line.label },
      alone ? null : h("i", { style: `background:${COLOURS[i % COLOURS.length]}` }), alone ? null : h("span", { class: "msnb-keyname" }, line.label), line.number)));
    chart.element.classList.toggle("msnb-alone", alone);
    const lines = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const labels = (_, ticks) => ticks.map((tick) => (tick === null ? "" : shortNumber(tick)));
    const data = dataOf(chart);
    const options = {
      width: Math.max(160, chart.box.clientWidth), height: chart.definition.wide ? 230 : 130, padding: [8, 8, 0, 0], series, bands,
      axes: [{ ...lines, size: 24, space: 38, ...(axis.value === "time" ? {} : { values: labels }) }, { ...lines, size: 46, values: labels }],
      scales: { x: { time: axis.value === "time" }, y: chart.log ? { distr: 3 } : { range: (_, low, high) => verticalRange(low, high) } },
      cursor: { sync: { key: `msnb-${root.dataset.id}` }, drag: { x: true, y: false }, y: false, points: { size: 5 } },
      legend: { show: false },
      hooks: { draw: [(plot) => drawMarks(plot, chart.definition.wide)], setCursor: [() => showNumbers(chart)], setScale: [(plot, key) => { if (key === "x") passZoom(plot); }] },
    };
    if (chart.plot) chart.plot.destroy();
    chart.plot = null;
    passing = true;
    chart.plot = new uPlot(options, data, chart.box);
    const part = visiblePart();
    if (part) chart.plot.setScale("x", part);
    passing = false;
    showNumbers(chart);
  }

  /** The part of the axis that is wanted, or null for all of it. */
  function visiblePart() {
    if (zoom) return zoom;
    const xs = store.columns[axis.value];
    if (range.value === "1" || xs.length < 3) return null;
    const max = xs[xs.length - 1];
    return { min: max - (max - xs[0]) * Number(range.value), max };
  }

  /** A zoom of one chart is a zoom of all. */
  function passZoom(plot) {
    if (passing || !plot.data[0].length) return;
    const { min, max } = plot.scales.x;
    const xs = plot.data[0];
    const whole = min <= xs[0] && max >= xs[xs.length - 1];
    if (whole && !zoom && range.value === "1") return;
    zoom = whole ? null : { min, max };
    range.value = whole ? "1" : "zoom";
    passing = true;
    for (const chart of charts) if (chart.plot && chart.plot !== plot) chart.plot.setScale("x", { min, max });
    passing = false;
  }

  function refresh() {
    findMarks();
    if (!zoom && range.value === "zoom") range.value = "1";
    const part = visiblePart();
    for (const chart of charts) {
      const wanted = linesOf(chart.definition);
      chart.element.hidden = wanted.length === 0;
      if (!wanted.length) continue;
      if (!chart.plot || wanted.length !== chart.lines.length) {
        build(chart);
        continue;
      }
      passing = true;
      chart.plot.setData(dataOf(chart), part === null);
      if (part) chart.plot.setScale("x", part);
      passing = false;
      showNumbers(chart);
    }
    empty.hidden = charts.some(({ element }) => !element.hidden);
  }

  function rebuild() {
    zoom = null;
    findMarks();
    for (const chart of charts) if (linesOf(chart.definition).length) build(chart);
    refresh();
  }

  function helpText({ metrics }) {
    return Object.keys(metrics).map((name) => store.catalogue[name]).filter(Boolean)
      .map((spec) => `${spec.name}${spec.unit ? ` (${spec.unit})` : ""}: ${spec.help}${spec.bad ? ` What bad looks like: ${spec.bad}` : ""}`).join("\n");
  }

  function toggleLog(chart) {
    const positive = chart.lines.some(({ name }) => store.columns[name].some((value) => value > 0));
    chart.log = !chart.log && positive;
    chart.logButton.setAttribute("aria-pressed", String(chart.log));
    chart.logButton.title = positive ? "" : "No value is above 0.";
    build(chart);
  }

  const told = h("p", { class: "msnb-told" });
  root.dataset.id = Math.random().toString(36).slice(2);
  for (const definition of CHARTS) {
    const box = h("div", { class: "msnb-plot" });
    const words = h("p", { class: "msnb-helptext", hidden: true });
    const help = h("button", { class: "msnb-help", "aria-label": `what ${definition.title} means`, "aria-expanded": "false" }, "?");
    help.addEventListener("mouseenter", () => help.setAttribute("title", helpText(definition)));
    help.addEventListener("click", () => {
      setText(words, helpText(definition));
      words.hidden = !words.hidden;
      help.setAttribute("aria-expanded", String(!words.hidden));
    });
    const keys = h("span", { class: "msnb-keys" });
    const chart = { definition, box, keys, lines: [], plot: null, log: false };
    chart.logButton = h("button", { class: "msnb-log", "aria-pressed": "false", "aria-label": `log axis of ${definition.title}`, onclick: () => toggleLog(chart) }, "log");
    chart.element = h("figure", { class: definition.wide ? "msnb-chart msnb-wide" : "msnb-chart", "aria-label": definition.title, hidden: true },
      h("figcaption", {}, h("span", { class: "msnb-title" }, definition.title), help, chart.logButton, keys), words, box, definition.wide ? told : null);
    charts.push(chart);
    area.append(chart.element);
  }

  const resize = new ResizeObserver(() => {
    for (const chart of charts) {
      const width = chart.box.clientWidth;
      if (chart.plot && width > 0 && Math.abs(width - chart.plot.width) > 2) chart.plot.setSize({ width, height: chart.plot.height });
    }
  });
  resize.observe(area);
  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Curves"), h("span", { class: "msnb-space" }),
      h("label", { class: "msnb-smooth" }, "smoothing", weight, weightText), range, axis), empty, area);
  let theme = null;
  return {
    element,
    update(changes) {
      const dark = root.classList.contains("msnb-dark");
      if (changes.has("history") || dark !== theme) {
        theme = dark;
        findMarks();
        for (const chart of charts) if (linesOf(chart.definition).length) build(chart);
        refresh();
      } else if (["points", "edits", "events"].some((what) => changes.has(what))) refresh();
    },
    destroy() {
      resize.disconnect();
      for (const chart of charts) if (chart.plot) chart.plot.destroy();
    },
  };
});
