// What the session uses of its machine, and the processes that do the work.

definePanel("resources", "Resources", ({ store }) => {
  const gauges = h("div", { class: "msnb-gauges" });
  const body = h("tbody", {});
  const head = ["process", "state", "pid", "machine", "restarts"].map((title) => h("th", { scope: "col" }, title));
  const table = h("div", { class: "msnb-scroll" }, h("table", { class: "msnb-table" }, h("thead", {}, h("tr", {}, ...head)), body));
  const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–");

  /** Label, value, what the bar shows (0 to 1), a remark, and the metric that explains it. */
  function figures() {
    const use = store.head.values.resources || {};
    const known = (name) => (use[name] === undefined || use[name] === null ? store.latest(`system/${name}`) : use[name]);
    const list = [
      ["CPU", `${formatNumber(known("cpu_cores"))} of ${formatNumber(use.cores ?? NaN)} cores`, known("cpu_cores") / use.cores,
        `machine ${percent(known("machine_cpu_fraction"))} busy`, "cpu_cores"],
      ["Memory", formatBytes(known("memory_bytes")), known("machine_memory_fraction"),
        `machine ${percent(known("machine_memory_fraction"))} in use`, "memory_bytes"],
    ];
    (use.gpus || []).forEach((gpu, number) => {
      const memory = gpu.memory_bytes / gpu.memory_total_bytes;
      list.push([`GPU ${number}`, `${percent(gpu.busy_fraction ?? NaN)} busy`, gpu.busy_fraction, gpu.name, "gpu_fraction"]);
      list.push([`GPU ${number} memory`, formatBytes(gpu.memory_bytes), memory, `${percent(memory)} of ${formatBytes(gpu.memory_total_bytes)}`, "gpu_memory_bytes"]);
    });
    if (Number.isFinite(known("object_store_bytes"))) {
      list.push(["Object store", formatBytes(known("object_store_bytes")), known("object_store_fraction"), `${percent(known("object_store_fraction"))} full`, "object_store_bytes"]);
    }
    const processes = known("processes");
    list.push(["Replay buffer", formatBytes(store.latest("buffer/bytes")), NaN, Number.isFinite(processes) ? `${processes} process${processes > 1 ? "es" : ""} in all` : "", "processes"]);
    return list;
  }

  function gauge([label, value, share, remark, metric]) {
    const spec = store.catalogue[`system/${metric}`] || {};
    const level = Math.min(1, Math.max(0, share));
    const bar = Number.isFinite(level)
      ? h("div", { class: "msnb-meter", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * level) },
        h("div", { style: `width: ${100 * level}%`, class: level > 0.9 ? "msnb-full" : null }))
      : null;
    return h("div", { class: "msnb-gauge", title: [spec.help, spec.bad].filter(Boolean).join("\n") },
      h("span", { class: "msnb-gauge-name" }, label), h("strong", {}, value), bar, h("span", { class: "msnb-range" }, remark));
  }

  function row(process) {
    const cells = [process.role, h("span", { class: `msnb-alive msnb-${process.state}` }, process.state), String(process.pid ?? "–"), process.node || "–"];
    const again = h("span", { title: process.cause || null }, `${process.restarts}${process.cause ? ` · ${process.cause}` : ""}`);
    return h("tr", {}, ...[...cells, again].map((cell, column) => h(column ? "td" : "th", column ? {} : { scope: "row" }, cell)));
  }

  const element = h("div", {}, h("div", { class: "msnb-line" }, h("h3", {}, "Resources")), gauges, table);
  let shown = "";
  return {
    element,
    update(changes) {
      if (!changes.has("head") && !changes.has("points")) return;
      gauges.replaceChildren(...figures().map(gauge));
      const processes = store.head.values.processes || [];
      const now = JSON.stringify(processes);
      if (now === shown) return;
      shown = now;
      table.hidden = !processes.length;
      body.replaceChildren(...processes.map(row));
    },
  };
});
