// What all panels share: making elements, the store that messages fill, and the link to Python.
// Text that comes from outside reaches the page as text nodes and attributes only, never as markup.

const PANEL_MAKERS = {};

/** Registers a panel: make({store, link, narrow}) -> {element, update(changes), destroy?()}. */
function definePanel(name, title, make) {
  PANEL_MAKERS[name] = { title, make };
}

/** h("button", {class: "x", onclick: f, "aria-label": "y"}, "text", child, ...) -> element. */
function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** 0.00012 -> "1.2e-4", 12345.6 -> "12,346", 0.25 -> "0.25". */
function formatNumber(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(digits - 2).replace("e+", "e").replace(/\.?0+e/, "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(digits)));
}

/** A setting as people write it: 5e-4 -> "0.0005", null -> "none". */
function settingText(value) {
  if (value === null || value === undefined || String(value) === "") return "none";
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : String(value);
}

function formatSeconds(seconds) {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  return s >= 3600 ? `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}` : `${Math.floor(s / 60)}:${two(s % 60)}`;
}

function formatBytes(bytes) {
  if (!Number.isFinite(bytes)) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(1000))));
  return `${formatNumber(bytes / 1000 ** power)} ${units[power]}`;
}

function clockTime(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString([], { hour12: false });
}

/** Whether the page is dark: JupyterLab says so itself, other pages by the colour behind the element. */
function isDark(element) {
  const flag = document.body.dataset.jpThemeLight;
  if (flag !== undefined) return flag === "false";
  for (let at = element; at; at = at.parentElement) {
    const parts = getComputedStyle(at).backgroundColor.match(/[\d.]+/g);
    if (parts && (parts.length < 4 || Number(parts[3]) > 0)) {
      return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2] < 128;
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Everything that is known of the session. Columns are plain arrays, one number for each point. */
class Store {
  constructor() {
    this.silent = false; // whether the kernel does not answer
    this.clear();
  }

  clear() {
    this.names = [];
    this.columns = { iteration: [], time: [], env_steps: [] };
    this.events = [];
    this.episodes = [];
    this.shown = [0, 0, 0]; // points, events and episodes, as the pump counts them
    this.edits = [];
    this.fields = [];
    this.catalogue = this.catalogue || {};
    this.head = this.head || { name: "", state: "", since: 0, values: {}, failure: "", held_by: "" };
    this.tiles = { all: [], tiles: [], columns: 0, width: 0, height: 0 };
    this.bitmap = this.bitmap || null; // a picture that does not change is not sent again
    this.focus = this.focus || null; // the environment that is enlarged
    this.large = null; // what is known of it
    this.largeBitmap = this.largeBitmap || null;
  }

  get length() {
    return this.columns.iteration.length;
  }

  latest(name) {
    const column = this.columns[name];
    return column && column.length ? column[column.length - 1] : NaN;
  }

  /** Takes a message of the pump; returns the names of what changed, or null when something was missed before it. */
  take(message, buffers) {
    const changes = new Set();
    if (message.k === "history") {
      this.clear();
      this.names = message.names;
      for (const name of this.names) this.columns[name] = [];
      this.catalogue = message.catalogue;
      for (const what of ["history", "points", "events", "episodes"]) changes.add(what);
      this.events = message.events;
      this.episodes = message.episodes;
    } else {
      if (message.base.some((count, i) => count > this.shown[i])) return null;
      this.grow("events", 1, message, changes);
      this.grow("episodes", 2, message, changes);
    }
    this.shown = message.shown;
    if (message.rows && this.addRows(message.rows, buffers[0])) changes.add("points");
    for (const what of ["head", "edits", "fields"]) {
      if (message[what] === undefined) continue;
      this[what] = message[what];
      changes.add(what);
    }
    return changes;
  }

  /** Adds events or episodes, of which a view may have some already. */
  grow(what, place, message, changes) {
    if (!message[what]) return;
    const fresh = message[what].slice(this.shown[place] - message.base[place]);
    if (!fresh.length) return;
    this[what] = this[what].concat(fresh).slice(-1000);
    changes.add(what);
  }

  /** Appends packed rows; those that a view has already are skipped by their iteration. */
  addRows(rows, buffer) {
    const bytes = buffer.buffer ? buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) : buffer;
    const numbers = new Float64Array(bytes);
    const width = numbers.length / rows;
    const keys = ["iteration", "time", "env_steps", ...this.names];
    const newest = this.length ? this.latest("time") : -Infinity;
    let added = 0;
    for (let row = 0; row < rows; row += 1) {
      if (numbers[row * width + 1] <= newest) continue;
      keys.forEach((key, column) => this.columns[key].push(numbers[row * width + column]));
      added += 1;
    }
    return added;
  }
}

/** The link of one view to Python: says hello, acknowledges, carries orders, and notices when nobody answers. */
class Link {
  /** onMessage(message, buffers) shows what came; onSilence(silent) is told when the kernel falls silent and comes back. */
  constructor(model, onMessage, onSilence) {
    this.model = model;
    this.onMessage = onMessage;
    this.onSilence = onSilence;
    this.view = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
    this.wishes = {};
    this.orders = new Map();
    this.ordered = 0;
    this.unanswered = 0;
    this.heardAt = performance.now();
    this.silent = false;
    this.busy = Promise.resolve();
    this.handler = (message, buffers) => this.receive(message, buffers);
    model.on("msg:custom", this.handler);
    // The host says so when the kernel restarts; where it does not, silence tells.
    this.cut = () => this.fallSilent();
    model.on("comm_live_update", this.cut);
    this.hello();
    // A page that slept, or a kernel that came back, has missed something: ask anew.
    this.timer = setInterval(() => {
      const seconds = (performance.now() - this.heardAt) / 1000;
      if (seconds > 12) this.fallSilent();
      if (seconds > 5) this.hello();
    }, 3000);
  }

  /** Whatever happens to the kernel, a page must not fail because of it. */
  tell(message) {
    try {
      this.model.send(message);
    } catch (error) {
      this.fallSilent();
    }
  }

  /** Says that this view is there, and what it wants to see: the kernel may have forgotten both. */
  hello() {
    this.tell({ k: "hello", view: this.view });
    if (Object.keys(this.wishes).length) this.look({});
  }

  look(wishes) {
    Object.assign(this.wishes, wishes);
    this.tell({ k: "look", view: this.view, ...this.wishes });
  }

  /** Gives an order; resolves with Python's words, rejects with its reason. */
  order(kind, args = {}) {
    this.ordered += 1;
    const id = `${this.view}/${this.ordered}`;
    const promise = new Promise((resolve, reject) => this.orders.set(id, { resolve, reject }));
    this.tell({ k: "order", id, kind, arguments: args });
    return promise;
  }

  fallSilent() {
    if (!this.silent) this.onSilence(true);
    this.silent = true;
    for (const { reject } of this.orders.values()) reject(new Error("The kernel does not answer."));
    this.orders.clear();
  }

  receive(message, buffers) {
    this.heardAt = performance.now();
    if (this.silent) this.onSilence(false);
    this.silent = false;
    if (message.k === "reply") {
      const waiting = this.orders.get(message.id);
      if (!waiting) return;
      this.orders.delete(message.id);
      if (message.ok) waiting.resolve(message.media_type ? { ...message, video: buffers[0] } : message.text);
      else waiting.reject(new Error(message.text));
      return;
    }
    // One after the other, and acknowledged when drawn: that is what holds the sender back.
    this.busy = this.busy
      .then(() => this.onMessage(message, buffers))
      .catch((error) => console.error("minestudio_nb:", error))
      .then(() => this.acknowledge(message));
  }

  /** Pictures are acknowledged with the data that follow them: an answer costs the kernel as much as a message. */
  acknowledge(message) {
    this.unanswered += 1;
    const data = message.k === "history" || message.rows || message.events || message.episodes || !message.tiles;
    if (!data && this.unanswered < 3) return;
    this.unanswered = 0;
    this.tell({ k: "ack", view: this.view, seq: message.seq });
  }

  close() {
    clearInterval(this.timer);
    this.model.off("msg:custom", this.handler);
    this.model.off("comm_live_update", this.cut);
    this.tell({ k: "bye", view: this.view });
  }
}
