// Events and errors, newest first, with their causes.

definePanel("events", "Events", ({ store }) => {
  const list = h("ol", { class: "msnb-eventlist", tabindex: "0", "aria-label": "events, newest first" });
  const filter = h("select", { "aria-label": "which events", onchange: draw });
  for (const [value, text] of [["all", "all events"], ["bad", "warnings and errors"], ["error", "errors"]]) {
    filter.append(h("option", { value }, text));
  }
  const wanted = (event) => filter.value === "all" || event.severity === "error" || (filter.value === "bad" && event.severity === "warning");

  function row(event) {
    const told = event.iteration === null || event.iteration === undefined || event.message.includes(`iteration ${event.iteration}`);
    const where = told ? "" : ` · iteration ${event.iteration}`;
    const detail = event.data && event.data.detail;
    return h("li", { class: `msnb-event msnb-${event.severity}` },
      h("span", { class: "msnb-when" }, clockTime(event.time)),
      h("span", { class: "msnb-kind" }, event.kind),
      h("span", { class: "msnb-text" }, `${event.message}${where}`,
        detail ? h("details", {}, h("summary", {}, "details"), h("pre", {}, detail)) : null));
  }

  function draw() {
    const shown = store.events.filter(wanted).slice(-100).reverse().map(row);
    list.replaceChildren(...(shown.length ? shown : [h("li", { class: "msnb-empty" }, "Nothing has happened yet.")]));
  }

  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Events"), h("span", { class: "msnb-space" }), filter), list);
  draw();
  return {
    element,
    update(changes) {
      if (changes.has("events")) draw();
    },
  };
});
