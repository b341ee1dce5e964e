// Episodes: a table of those that finished, and a player for those that were recorded, with reward, value, advantage
// and action under the picture.

definePanel("episodes", "Episodes", ({ store, link, root }) => {
  const COLUMNS = [["return", "episode_return"], ["length", "length"], ["task", "task"], ["version", "version"], ["worker", "stream"], ["ended", null]];
  let order = { key: "finished_at", down: true };
  const body = h("tbody", {});
  const headings = COLUMNS.map(([title, key]) => {
    const button = h("button", { class: "msnb-sort", onclick: () => sortBy(key || "finished_at") }, title);
    return h("th", { scope: "col" }, button);
  });
  const table = h("table", { class: "msnb-table" }, h("thead", {}, h("tr", {}, ...headings)), body);
  const scroll = h("div", { class: "msnb-scroll", tabindex: "0", role: "group", "aria-label": "finished episodes", hidden: true }, table);
  const summary = h("p", { class: "msnb-caption" });

  const picker = h("select", { "aria-label": "recorded episode", onchange: () => play(picker.value) });
  const pick = (choose) => () => {
    const { list } = recordings();
    if (list.length) play(choose(list).path);
  };
  const byReturn = (sign) => (list) => list.reduce((best, each) => (sign * (each.episode_return - best.episode_return) > 0 ? each : best));
  const buttons = h("span", { class: "msnb-buttons", role: "group", "aria-label": "recorded episodes" },
    h("button", { onclick: pick((list) => list[list.length - 1]) }, "Latest"),
    h("button", { onclick: pick(byReturn(1)) }, "Best"),
    h("button", { onclick: pick(byReturn(-1)) }, "Worst"), picker);
  const hint = h("p", { class: "msnb-empty" }, "No episode was recorded yet: press Record.");
  const video = h("video", { class: "msnb-video", controls: true, muted: true, playsinline: true, "aria-label": "recorded episode" });
  const image = h("img", { class: "msnb-video", alt: "recorded episode", hidden: true });
  const scrub = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "step of the episode" });
  const readout = h("p", { class: "msnb-caption", role: "status", "aria-live": "off" });
  const LINES = [["reward", COLOURS[2]], ["value", COLOURS[0]], ["advantage", COLOURS[1]]];
  const ACTIONS_DRAWN = 3;
  const keys = h("p", { class: "msnb-keys" }, ...LINES.map(([name, colour]) => h("span", { class: "msnb-key" }, h("i", { style: `background:${colour}` }), name)));
  const plotBox = h("div", { class: "msnb-plot" });
  const strip = h("canvas", { class: "msnb-strip", role: "img", "aria-label": "actions, one colour each" });
  const stripTitle = h("span", { class: "msnb-caption" }, "actions, one colour each");
  const download = h("a", { class: "msnb-download" }, "Download");
  const problem = h("p", { class: "msnb-bad", role: "alert" });
  const player = h("div", { class: "msnb-player", hidden: true }, video, image, scrub, readout, keys, plotBox, strip,
    h("div", { class: "msnb-line" }, stripTitle, h("span", { class: "msnb-space" }), download));
  let shown = null;
  let plot = null;
  let address = null;

  function recordings() {
    const list = store.events.filter((event) => event.kind === "recording" && event.data && event.data.path).map((event) => event.data);
    return { list };
  }

  function sortBy(key) {
    order = { key, down: order.key === key ? !order.down : true };
    drawTable();
  }

  function drawTable() {
    const where = (episode) => episode.stream.join("/");
    const read = (episode) => (order.key === "stream" ? where(episode) : episode[order.key]);
    const sorted = [...store.episodes].sort((a, b) => (read(a) < read(b) ? -1 : read(a) > read(b) ? 1 : 0) * (order.down ? -1 : 1));
    body.replaceChildren(...sorted.slice(0, 100).map((episode) => h("tr", {},
      h("td", {}, formatNumber(episode.episode_return)), h("td", {}, formatNumber(episode.length)), h("td", {}, episode.task),
      h("td", {}, String(episode.version)), h("td", {}, where(episode)), h("td", {}, clockTime(episode.finished_at)))));
    COLUMNS.forEach(([, key], i) => {
      const mine = (key || "finished_at") === order.key;
      headings[i].setAttribute("aria-sort", mine ? (order.down ? "descending" : "ascending") : "none");
    });
    scroll.hidden = store.episodes.length === 0;
    setText(summary, store.episodes.length ? `The newest ${Math.min(100, store.episodes.length)} of ${store.shown[2]} finished episodes` : "No episode has finished yet.");
  }

  function drawPicker() {
    const { list } = recordings();
    hint.hidden = list.length > 0;
    buttons.hidden = list.length === 0;
    if (picker.options.length === list.length) return;
    picker.replaceChildren(...list.map((each) => h("option", { value: each.path }, `${clockTime(each.finished_at)} · return ${formatNumber(each.episode_return)} · ${each.task}`)));
    if (shown) picker.value = shown.path;
  }

  async function play(path) {
    picker.value = path;
    try {
      const recording = await link.order("play", { path });
      setText(problem, "");
      show(path, recording);
    } catch (error) {
      setText(problem, error.message);
    }
  }

  function show(path, recording) {
    shown = { path, ...recording };
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(new Blob([recording.video], { type: recording.media_type }));
    const moving = recording.media_type.startsWith("video/");
    video.hidden = !moving;
    image.hidden = moving;
    (moving ? video : image).src = address;
    download.href = address;
    download.download = path.split("/").pop();
    player.hidden = false;
    scrub.max = Math.max(0, recording.rewards.length - 1);
    drawTimeline();
    go(0, true);
    if (moving) video.play().catch(() => {});
  }

  function drawTimeline() {
    const style = getComputedStyle(root);
    const ink = style.getPropertyValue("--msnb-ink").trim();
    const grid = style.getPropertyValue("--msnb-grid").trim();
    const steps = shown.rewards.map((_, i) => i);
    const lines = { stroke: ink, grid: { stroke: grid }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const series = [{}, ...LINES.map(([, colour]) => ({ stroke: colour, width: 1.5, points: { show: false } }))];
    if (plot) plot.destroy();
    plot = new uPlot({ width: Math.max(200, plotBox.clientWidth || root.clientWidth / 3), height: 140, series, padding: [8, 4, 0, 0],
      scales: { x: { time: false }, y: { range: (_, low, high) => verticalRange(low, high) } },
      axes: [{ ...lines, size: 24 }, { ...lines, size: 44 }], legend: { show: false }, hooks: { setSize: [drawActions] },
      cursor: { drag: { x: false, y: false }, y: false } }, [steps, shown.rewards, shown.values, shown.advantages], plotBox);
    drawActions(plot);
    plot.over.addEventListener("click", () => { if (plot.cursor.idx !== null) go(plot.cursor.idx, true); });
  }

  /** The first components of each action as colours below the curves, in step with them. */
  function drawActions(chart) {
    const components = Math.min(ACTIONS_DRAWN, shown.actions.length ? shown.actions[0].length : 0);
    const { left, width } = chart.over.getBoundingClientRect();
    const start = left - plotBox.getBoundingClientRect().left;
    strip.hidden = components === 0;
    stripTitle.hidden = components === 0;
    strip.style.marginLeft = `${start}px`;
    strip.width = Math.max(1, Math.round(width * devicePixelRatio));
    strip.height = components * 10 * devicePixelRatio;
    strip.style.width = `${width}px`;
    strip.style.height = `${components * 10}px`;
    const ctx = strip.getContext("2d");
    const span = strip.width / Math.max(1, shown.actions.length - 1);
    shown.actions.forEach((action, step) => {
      for (let k = 0; k < components; k += 1) {
        const hue = (Number(action[k]) * 137.5) % 360; // neighbours get colours far apart
        ctx.fillStyle = `hsl(${hue} 55% 55%)`;
        ctx.fillRect((step - 0.5) * span, k * 10 * devicePixelRatio, Math.ceil(span), 9 * devicePixelRatio);
      }
    });
  }

  /** Shows a step: its numbers, its place on the time line and, when asked, its frame. */
  function go(step, seek) {
    if (!shown || !shown.rewards.length) return;
    scrub.value = String(step);
    const gained = shown.rewards.slice(0, step + 1).reduce((sum, reward) => sum + reward, 0);
    const action = shown.actions[step] ? ` · action [${shown.actions[step].join(", ")}]` : "";
    setText(readout, `step ${step + 1} of ${shown.rewards.length} · reward ${formatNumber(shown.rewards[step])} · return ${formatNumber(gained)} · value ${formatNumber(shown.values[step])} · advantage ${formatNumber(shown.advantages[step])}${action}`);
    if (plot) plot.setCursor({ left: plot.valToPos(step, "x"), top: 10 });
    if (seek && Number.isFinite(video.duration)) video.currentTime = ((step + 0.5) / shown.rewards.length) * video.duration;
  }

  scrub.addEventListener("input", () => { video.pause(); go(Number(scrub.value), true); });
  video.addEventListener("timeupdate", () => {
    if (shown && !video.paused) go(Math.min(shown.rewards.length - 1, Math.floor((video.currentTime / video.duration) * shown.rewards.length)), false);
  });

  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Episodes"), h("span", { class: "msnb-space" }), buttons),
    hint, problem, player, summary, scroll);
  return {
    element,
    update(changes) {
      if (changes.has("episodes") || changes.has("history")) drawTable();
      if (changes.has("events") || changes.has("history")) drawPicker();
    },
    destroy() {
      if (plot) plot.destroy();
      if (address) URL.revokeObjectURL(address);
    },
  };
});
