// A control for each setting that may change while the session runs: what was asked for, and when it was applied.

// Those that people reach for first; the others follow in the order of their names.
const FIRST_SETTINGS = ["learning_rate", "entropy_bonus_coef", "ppo_clip", "kl_divergence_coef_rho", "epochs_per_iteration", "discount", "gae_lambda"];

definePanel("tuning", "Tuning", ({ store, link, keys }) => {
  const rows = new Map();
  const table = h("fieldset", { class: "msnb-controls", "aria-label": "settings" });
  const history = h("ol", { class: "msnb-edits", "aria-label": "edits, newest first" });
  const search = h("input", { type: "search", placeholder: "find a setting", "aria-label": "find a setting", oninput: filter });

  const shortName = (key) => key.split(".").slice(1).join(".") || key;
  const same = (a, b) => a === b || (Array.isArray(a) && String(a) === String(b)) || (typeof a === "number" && typeof b === "number" && Math.abs(a - b) <= 1e-12 * Math.max(Math.abs(a), Math.abs(b)));

  /** The range of a slider: the setting's own bounds, or a hundredfold around the value for open ones. */
  function sliderRange(field) {
    const value = Math.abs(field.value) || Math.abs(field.default) || 1;
    let low = field.minimum;
    let high = field.maximum;
    if (field.scale === "log") {
      if (!(low > 0)) low = value / 1000;
      if (high === null) high = value * 100;
      return [Math.log10(low), Math.log10(high)];
    }
    if (low === null) low = -2 * value;
    if (high === null) high = Math.max(2 * value, low + 1);
    return [low, high];
  }

  function makeInput(field, send) {
    const label = { "aria-label": `${field.key}${field.unit ? ` in ${field.unit}` : ""}` };
    if (field.kind === "bool") {
      const box = h("input", { type: "checkbox", ...label, onchange: () => send(box.checked) });
      return { element: box, show: (value) => { box.checked = Boolean(value); } };
    }
    if (field.kind === "choice") {
      const select = h("select", { ...label, onchange: () => send(select.value) });
      for (const choice of field.choices) select.append(h("option", { value: choice }, choice));
      return { element: select, show: (value) => { select.value = value; } };
    }
    if (field.kind === "list") {
      const names = () => box.value.split(",").map((name) => name.trim()).filter(Boolean);
      const box = h("input", { type: "text", placeholder: "none; names with commas between", ...label, onchange: () => send(names()) });
      return { element: box, show: (value) => { box.value = value.join(", "); } };
    }
    const whole = field.kind === "int";
    const parse = (text) => (text.trim() === "" && field.optional ? null : Number(text));
    const box = h("input", { type: "text", inputmode: "decimal", class: "msnb-number", ...label });
    const submit = () => send(parse(box.value));
    box.addEventListener("change", submit);
    if (field.optional || typeof field.value !== "number") {
      return { element: box, show: (value) => { box.value = value === null ? "" : String(value); } };
    }
    const [low, high] = sliderRange(field);
    const log = field.scale === "log";
    const slider = h("input", { type: "range", min: low, max: high, step: whole && !log ? 1 : (high - low) / 200, ...label });
    const read = () => {
      const raw = log ? 10 ** Number(slider.value) : Number(slider.value);
      return whole ? Math.round(raw) : Number(raw.toPrecision(3));
    };
    slider.addEventListener("input", () => { box.value = String(read()); slider.setAttribute("aria-valuetext", box.value); });
    slider.addEventListener("change", () => send(read()));
    return {
      element: h("span", { class: "msnb-slide" }, slider, box),
      show(value) {
        box.value = String(value);
        slider.value = String(log ? Math.log10(Math.max(value, 1e-300)) : value);
        slider.setAttribute("aria-valuetext", box.value);
      },
    };
  }

  function makeRow(field) {
    const status = h("span", { class: "msnb-applied", role: "status", "aria-live": "polite" });
    const input = makeInput(field, async (value) => {
      if (same(value, rows.get(field.key).field.value)) return;
      setText(status, "requested …");
      status.className = "msnb-applied msnb-waiting";
      try {
        setText(status, await link.order("set", { key: field.key, value }));
      } catch (error) {
        setText(status, error.message);
        status.className = "msnb-applied msnb-bad";
        input.show(rows.get(field.key).field.value);
      }
    });
    const name = h("label", { title: `${field.key}\n${field.help}` }, shortName(field.key));
    const limits = field.range.replaceAll("<=", "≤").replaceAll(">=", "≥");
    const range = [field.help, limits, field.unit].filter(Boolean).join(" · ");
    const element = h("div", { class: "msnb-control" }, name, input.element, h("span", { class: "msnb-range" }, range), status);
    return { element, input, status, field };
  }

  function editText(edit) {
    const came = `${edit.key} → ${settingText(edit.value)}`;
    if (edit.status === "applied") return `${came}: applied @ iteration ${edit.iteration}`;
    if (edit.status === "rejected") return `${came}: rejected, ${edit.reason}`;
    return `${came}: requested`;
  }

  function drawFields() {
    const rank = ({ key }) => (FIRST_SETTINGS.indexOf(shortName(key)) + 1 || FIRST_SETTINGS.length + 1) * 2 + (key.startsWith("train_config.") ? 0 : 1);
    for (const field of [...store.fields].sort((a, b) => rank(a) - rank(b))) {
      if (keys && !keys.includes(field.key)) continue;
      let row = rows.get(field.key);
      if (!row) {
        row = makeRow(field);
        rows.set(field.key, row);
        table.append(row.element);
        row.input.show(field.value);
      } else if (!same(row.field.value, field.value)) {
        row.field = field;
        row.input.show(field.value);
      }
    }
    filter();
  }

  function drawEdits() {
    const newest = new Map();
    for (const edit of store.edits) newest.set(edit.key, edit);
    for (const [key, edit] of newest) {
      const row = rows.get(key);
      if (!row) continue;
      setText(row.status, editText(edit).slice(key.length + 3));
      row.status.className = `msnb-applied msnb-${edit.status}`;
    }
    history.replaceChildren(...[...store.edits].reverse().slice(0, 50).map((edit) => {
      const undo = h("button", { "aria-label": `undo ${edit.key}`, disabled: Boolean(store.head.held_by), onclick: () => link.order("undo", { revision: edit.revision }).catch((error) => setText(line, error.message)) }, "Undo");
      const line = h("span", {}, editText(edit));
      return h("li", { class: `msnb-${edit.status}` }, line, edit.status === "rejected" ? null : undo);
    }));
  }

  function filter() {
    const wanted = search.value.trim().toLowerCase();
    for (const [key, row] of rows) row.element.hidden = !`${key} ${row.field.help}`.toLowerCase().includes(wanted);
  }

  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Tuning"), h("span", { class: "msnb-space" }), keys ? null : search),
    table, h("details", { class: "msnb-history" }, h("summary", {}, "History of edits"), history));
  return {
    element,
    update(changes) {
      if (changes.has("fields")) drawFields();
      if (changes.has("edits") || changes.has("fields") || (changes.has("head") && table.disabled !== Boolean(store.head.held_by))) {
        table.disabled = Boolean(store.head.held_by); // another process gives the orders
        drawEdits();
      }
    },
  };
});
