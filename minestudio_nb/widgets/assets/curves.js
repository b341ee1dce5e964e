// Curves: linked cursors and zoom, smoothing, markers for what happened, and what each metric means.

const CHARTS = [
  { title: "Return", metrics: ["episode/return_window", "episode/return"], tasks: true, wide: true },
  { title: "Episode length", metrics: ["episode/length_steps"] },
  { title: "Losses", metrics: ["ppo/policy_loss", "ppo/value_loss"] },
  { title: "KL", metrics: ["ppo/approx_kl_nats", "ppo/kl_reference_nats"] },
  { title: "Entropy", metrics: ["ppo/entropy_nats"] },
  { title: "Clip fraction", metrics: ["ppo/clip_fraction"] },
  { title: "Explained variance", metrics: ["ppo/explained_variance"] },
  { title: "Effective sample size", metrics: ["ppo/effective_sample_size"] },
  { title: "Throughput", metrics: ["rollout/steps_per_second", "train/samples_per_second"] },
  { title: "Staleness", metrics: ["rollout/staleness"] },
];
const COLOURS = ["#2f7ed8", "#e07b39", "#3a9d5d", "#9b5fc0", "#c94f6d", "#7a8794"];
const MARKS = {
  edit: { colour: "#9b5fc0", sign: "▲" },
  checkpoint: { colour: "#3a9d5d", sign: "◆" },
  fault: { colour: "#d64545", sign: "✕" },
};

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

definePanel("curves", "Curves", ({ store, root }) => {
  const area = h("div", { class: "msnb-charts" });
  const charts = [];
  let zoom = null;
  let passing = false;

  const axis = h("select", { "aria-label": "horizontal axis", onchange: rebuild });
  for (const [value, text] of [["iteration", "iteration"], ["env_steps", "environment steps"], ["time", "time"]]) axis.append(h("option", { value }, text));
  const weight = h("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, "aria-label": "smoothing", oninput: () => { setText(weightText, weight.value); refresh(); } });
  const weightText = h("output", {}, "0");
  const unzoom = h("button", { onclick: () => { zoom = null; refresh(); } }, "Whole run");

  /** Where on the axis an iteration is. */
  function place(iteration) {
    const { iteration: iterations } = store.columns;
    const xs = store.columns[axis.value];
    let low = 0;
    let high = iterations.length - 1;
    if (high < 0) return null;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (iterations[middle] < iteration) low = middle + 1;
      else high = middle;
    }
    return xs[low];
  }

  function marks() {
    const found = store.edits.filter((edit) => edit.status === "applied").map((edit) => ({ kind: "edit", iteration: edit.iteration }));
    for (const event of store.events) {
      const fault = event.severity === "error" || ["env_restart", "worker_restart", "trainer_restart"].includes(event.kind);
      if (event.kind === "checkpoint") found.push({ kind: "checkpoint", iteration: event.iteration });
      else if (fault) found.push({ kind: "fault", iteration: event.iteration, time: event.time });
    }
    return found;
  }

  function drawMarks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.textAlign = "center";
    for (const mark of marks()) {
      const x = mark.iteration === null || mark.iteration === undefined ? timePlace(mark.time) : place(mark.iteration);
      if (x === null) continue;
      const at = plot.valToPos(x, "x", true);
      if (at < bbox.left || at > bbox.left + bbox.width) continue;
      const { colour, sign } = MARKS[mark.kind];
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.globalAlpha = 0.45;
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.fillText(sign, at, bbox.top + 10 * devicePixelRatio);
    }
    ctx.restore();
  }

  function timePlace(time) {
    const { time: times } = store.columns;
    const after = times.findIndex((each) => each >= time);
    return after < 0 ? null : store.columns[axis.value][after];
  }

  function seriesOf(chart) {
    const names = chart.metrics.filter((name) => store.columns[name]);
    const tasks = chart.tasks ? store.names.filter((name) => name.startsWith("task/")) : [];
    return tasks.length > 1 ? [...names, ...tasks] : names;
  }

  function bandOf(name) {
    if (name === "episode/return_window") {
      const tasks = store.names.filter((each) => each.startsWith("task_std/"));
      return tasks.length === 1 ? store.columns[tasks[0]] : null;
    }
    return name.startsWith("task/") ? store.columns[name.replace("task/", "task_std/")] : null;
  }

  function dataOf(chart) {
    const data = [store.columns[axis.value]];
    for (const name of chart.names) {
      const line = smoothed(store.columns[name], Number(weight.value));
      const spread = bandOf(name);
      data.push(line);
      if (spread) {
        data.push(line.map((value, i) => (value === null || !Number.isFinite(spread[i]) ? null : value + spread[i])));
        data.push(line.map((value, i) => (value === null || !Number.isFinite(spread[i]) ? null : value - spread[i])));
      }
    }
    return chart.log ? data.map((values, i) => (i ? values.map((value) => (value > 0 ? value : null)) : values)) : data;
  }

  function build(chart) {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--msnb-ink").trim() || "#333";
    const grid = style.getPropertyValue("--msnb-grid").trim() || "#8883";
    const series = [{ label: axis.value.replace("_", " ") }];
    const bands = [];
    chart.names = seriesOf(chart.definition);
    chart.names.forEach((name, i) => {
      const colour = COLOURS[i % COLOURS.length];
      const spec = store.catalogue[name] || {};
      const label = name.startsWith("task/") ? name.slice(5) : name.split("/").pop();
      series.push({ label, stroke: colour, width: name === "episode/return" ? 1 : 1.8, alpha: name === "episode/return" ? 0.45 : 1, spanGaps: true,
        points: { show: store.length < 2 }, value: (_, value) => `${formatNumber(value)}${spec.unit && value !== null ? ` ${spec.unit}` : ""}` });
      if (!bandOf(name)) return;
      series.push({ show: true, stroke: "transparent", points: { show: false }, class: "msnb-hidden" }, { show: true, stroke: "transparent", points: { show: false }, class: "msnb-hidden" });
      bands.push({ series: [series.length - 2, series.length - 1], fill: `${colour}22` });
    });
    const lines = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "11px system-ui, sans-serif" };
    const options = {
      width: Math.max(160, chart.box.clientWidth), height: chart.definition.wide ? 240 : 150, series, bands,
      axes: [{ ...lines, size: 30 }, { ...lines, size: 52, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : formatNumber(tick))) }],
      scales: { x: { time: axis.value === "time" }, y: { distr: chart.log ? 3 : 1 } },
      cursor: { sync: { key: `msnb-${root.dataset.id}` }, drag: { x: true, y: false } },
      legend: { live: true },
      hooks: { draw: [drawMarks], setScale: [(plot, key) => { if (key === "x") passZoom(plot); }] },
    };
    if (chart.plot) chart.plot.destroy();
    chart.plot = new uPlot(options, dataOf(chart), chart.box);
    if (zoom) chart.plot.setScale("x", zoom);
  }

  /** A zoom of one chart is a zoom of all. */
  function passZoom(plot) {
    if (passing || !plot.data[0].length) return;
    const { min, max } = plot.scales.x;
    const xs = plot.data[0];
    const whole = min <= xs[0] && max >= xs[xs.length - 1];
    if (whole && !zoom) return;
    zoom = whole ? null : { min, max };
    passing = true;
    for (const chart of charts) if (chart.plot && chart.plot !== plot) chart.plot.setScale("x", { min, max });
    passing = false;
  }

  function refresh() {
    passing = true;
    for (const chart of charts) {
      if (seriesOf(chart.definition).length !== chart.names.length) build(chart);
      else if (chart.plot) {
        chart.plot.setData(dataOf(chart), !zoom);
        if (zoom) chart.plot.setScale("x", zoom);
      }
      chart.element.hidden = chart.names.length === 0;
    }
    passing = false;
  }

  function rebuild() {
    zoom = null;
    for (const chart of charts) build(chart);
    refresh();
  }

  function helpText(definition) {
    return definition.metrics.map((name) => store.catalogue[name]).filter(Boolean)
      .map((spec) => `${spec.name}: ${spec.help}${spec.bad ? ` Bad: ${spec.bad}` : ""}`).join("\n");
  }

  root.dataset.id = Math.random().toString(36).slice(2);
  for (const definition of CHARTS) {
    const box = h("div", { class: "msnb-plot" });
    const help = h("button", { class: "msnb-help", "aria-label": `what ${definition.title} means` }, "?");
    const words = h("p", { class: "msnb-helptext", hidden: true });
    help.addEventListener("mouseenter", () => help.setAttribute("title", helpText(definition)));
    help.addEventListener("click", () => { setText(words, helpText(definition)); words.hidden = !words.hidden; });
    const log = h("button", { class: "msnb-log", "aria-pressed": "false", "aria-label": `logarithmic axis of ${definition.title}` }, "log");
    const chart = { definition, box, names: [], plot: null, log: false };
    log.addEventListener("click", () => { chart.log = !chart.log; log.setAttribute("aria-pressed", String(chart.log)); build(chart); });
    chart.element = h("figure", { class: definition.wide ? "msnb-chart msnb-wide" : "msnb-chart", role: "figure", "aria-label": definition.title, hidden: true },
      h("figcaption", {}, definition.title, help, h("span", { class: "msnb-space" }), log), words, box);
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
      h("label", {}, "smoothing ", weight, weightText), axis, unzoom), area);
  let theme = null;
  return {
    element,
    update(changes) {
      const dark = root.classList.contains("msnb-dark");
      if (changes.has("history") || dark !== theme) {
        theme = dark;
        for (const chart of charts) {
          chart.element.hidden = seriesOf(chart.definition).length === 0;
          if (!chart.element.hidden) build(chart);
        }
      } else if (["points", "edits", "events"].some((what) => changes.has(what))) refresh();
    },
    destroy() {
      resize.disconnect();
      for (const chart of charts) if (chart.plot) chart.plot.destroy();
    },
  };
});
