// The head: what the session does, how far it is, how fast, and the buttons that everybody needs.

/** What a display shows while another process gives the orders: who, and the button that takes the controls here. */
function watchBar({ store, link }) {
  const text = h("span", {});
  const take = h("button", { onclick: async () => {
    take.disabled = true;
    try {
      await link.order("take_controls");
    } catch (error) {
      setText(text, error.message);
    } finally {
      take.disabled = false;
    }
  } }, "Take controls");
  const element = h("div", { class: "msnb-line msnb-watching", role: "status", "aria-live": "polite", hidden: true }, text, take);
  return {
    element,
    update(changes) {
      if (!changes.has("head")) return;
      const holder = store.head.held_by;
      element.hidden = !holder;
      setText(text, holder ? `Watching: ${holder} holds the controls.` : "");
    },
  };
}

definePanel("head", "Session", ({ store, link }) => {
  const state = h("span", { class: "msnb-state", role: "status", "aria-live": "polite" });
  const name = h("strong", { class: "msnb-name" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": "iterations done" });
  const progress = h("span", { class: "msnb-figure" });
  const figures = {};
  const figureRow = h("dl", { class: "msnb-figures" });
  const FIGURES = [
    ["return", "episode/return_window"],
    ["env steps/s", "rollout/steps_per_second"],
    ["learner samples/s", "train/samples_per_second"],
    ["staleness", "rollout/staleness"],
    ["buffer", "buffer/fragments"],
    ["workers", null],
    ["env steps", "rollout/env_steps_total"],
  ];
  for (const [label, metric] of FIGURES) {
    figures[label] = h("dd", {});
    const help = metric && (() => (store.catalogue[metric] || {}).help);
    const term = h("dt", {}, label);
    figureRow.append(h("div", { class: "msnb-pair" }, term, figures[label]));
    if (help) term.addEventListener("mouseenter", () => term.setAttribute("title", help() || ""));
  }

  const note = h("span", { class: "msnb-note", role: "status", "aria-live": "polite" });
  const act = async (button, kind, args) => {
    button.disabled = true;
    try {
      setText(note, await link.order(kind, args));
      note.classList.remove("msnb-bad");
    } catch (error) {
      setText(note, error.message);
      note.classList.add("msnb-bad");
    } finally {
      button.disabled = false;
      show();
    }
  };
  const paused = () => store.head.state === "PAUSED";
  const pause = h("button", { onclick: () => act(pause, paused() ? "resume" : "pause") }, "Pause");
  const checkpoint = h("button", { onclick: () => act(checkpoint, "checkpoint") }, "Checkpoint");
  const record = h("button", { onclick: () => act(record, "record"), title: "Record the next episodes as videos" }, "Record");
  const stop = h("button", { class: "msnb-danger", onclick: () => ask(true) }, "Stop…");
  const really = h("button", { class: "msnb-danger", onclick: () => { ask(false); act(stop, "stop"); } }, "Stop training");
  const keep = h("button", { onclick: () => ask(false) }, "Go on");
  const question = h("span", { class: "msnb-question", role: "group", "aria-label": "Stop the session?", hidden: true,
    onkeydown: (event) => { if (event.key === "Escape") ask(false); } },
    "End training and all its processes? ", really, keep);
  function ask(yes) {
    question.hidden = !yes;
    stop.hidden = yes;
    (yes ? keep : stop).focus();
  }

  /** Seconds to the last iteration, from the pace of the latest ones; NaN while unknown. */
  function secondsLeft(values) {
    const times = store.columns.time;
    const count = Math.min(20, times.length - 1);
    if (count < 1 || store.silent || !["TRAINING", "PAUSED"].includes(store.head.state)) return NaN;
    const pace = (times[times.length - 1] - times[times.length - 1 - count]) / count;
    return pace * (values.num_iterations - values.iteration);
  }

  function show() {
    const { head } = store;
    const values = head.values;
    setText(name, head.name);
    setText(state, store.silent ? "no kernel" : head.state.toLowerCase());
    state.dataset.tone = store.silent ? "still" : head.tone;
    if (head.failure) {
      setText(note, head.failure);
      note.classList.add("msnb-bad");
    }
    const total = values.num_iterations || 0;
    bar.value = total ? (values.iteration || 0) / total : 0;
    const left = secondsLeft(values);
    setText(progress, `iteration ${formatNumber(values.iteration ?? 0, 7)} of ${formatNumber(total, 7)}${Number.isNaN(left) ? "" : ` · ${formatSeconds(left)} left`}`);
    for (const [label, metric] of FIGURES) {
      setText(figures[label], metric ? formatNumber(store.latest(metric)) : `${values.workers_alive ?? "–"}/${values.workers ?? "–"}`);
    }
    const held = store.latest("buffer/fragments");
    const room = values.buffer_fragments;
    if (room && Number.isFinite(held)) setText(figures.buffer, `${Math.round((100 * held) / room)} % of ${formatNumber(room)}`);
    figures.workers.classList.toggle("msnb-bad", values.workers_alive < values.workers);
    const runs = ["TRAINING", "PAUSED"].includes(head.state) && !head.held_by;
    setText(pause, paused() ? "Resume" : "Pause");
    pause.setAttribute("aria-pressed", String(paused()));
    pause.disabled = checkpoint.disabled = !runs;
    record.disabled = !runs && (head.state !== "ROLLING" || Boolean(head.held_by));
    stop.disabled = Boolean(head.held_by) || ["STOPPING", "STOPPED", "DETACHED", "NEW"].includes(head.state);
    if (head.held_by && !question.hidden) ask(false);
  }

  const element = h("div", { class: "msnb-bar" },
    h("div", { class: "msnb-line" }, state, name, bar, progress, h("span", { class: "msnb-space" }),
      h("span", { class: "msnb-buttons", role: "toolbar", "aria-label": "Session" }, pause, checkpoint, record, stop, question)),
    figureRow, note);
  return {
    element,
    update(changes) {
      if (changes.has("head") || changes.has("points")) show();
    },
  };
});
