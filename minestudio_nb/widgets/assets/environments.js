// Live views of the environments: one picture for all, a button over each; one of them can be enlarged.

const TILE_STATES = { resetting: "resetting …", restarting: "restarting …", dead: "dead" };

/** What holds of an environment that broke, for the pointer and for screen readers. */
function tileTrouble(tile) {
  const state = TILE_STATES[tile.state];
  const again = tile.restarts ? `built anew ${tile.restarts} time${tile.restarts > 1 ? "s" : ""}` : "";
  if (state) return [state, tile.cause, again].filter(Boolean).join(": ");
  return again && tile.cause ? `${again}, the last time because: ${tile.cause}` : again;
}

definePanel("environments", "Environments", ({ store, link }) => {
  const canvas = h("canvas", { class: "msnb-mosaic", width: 1, height: 1, "aria-hidden": "true" });
  const grid = h("div", { class: "msnb-tiles", role: "group", "aria-label": "environments; press one to enlarge it" });
  const stage = h("div", { class: "msnb-stage", hidden: true }, canvas, grid);
  const empty = h("p", { class: "msnb-empty" }, "No environment runs.");
  const largeCanvas = h("canvas", { class: "msnb-large", width: 16, height: 9, role: "img" });
  const trouble = h("p", { class: "msnb-trouble", role: "status" });
  const frame = h("div", { class: "msnb-stage" }, largeCanvas, trouble);
  const pressed = h("p", { class: "msnb-pressed", "aria-live": "off" });
  const facts = h("p", { class: "msnb-caption", "aria-live": "off" });
  const close = h("button", { onclick: () => choose(null) }, "Show all");
  const large = h("div", { class: "msnb-focus", hidden: true }, frame, h("div", { class: "msnb-line" }, pressed, h("span", { class: "msnb-space" }), close), facts);
  let first = 0;

  const fps = h("select", { "aria-label": "pictures per second", onchange: wish });
  for (const rate of [0, 1, 2, 5, 10]) fps.append(h("option", { value: String(rate) }, rate ? `${rate} fps` : "off"));
  fps.value = "5";
  const count = h("select", { "aria-label": "number of environments shown", onchange: wish });
  for (const number of [1, 4, 9, 16]) count.append(h("option", { value: String(number) }, number > 1 ? `${number} tiles` : "1 tile"));
  count.value = "9";
  const back = h("button", { "aria-label": "previous environments", onclick: () => turn(-1) }, "‹");
  const next = h("button", { "aria-label": "next environments", onclick: () => turn(1) }, "›");
  const range = h("span", { class: "msnb-range" });

  /** Turns to the next page of environments, or to the next environment where one is enlarged. */
  function turn(by) {
    const { all } = store.tiles;
    if (!all.length) return;
    const around = (place) => (place + all.length) % all.length;
    if (store.focus !== null) choose(all[around(Math.max(0, all.indexOf(store.focus)) + by)], false);
    else {
      const pages = Math.ceil(all.length / Number(count.value));
      first = ((Math.floor(first / Number(count.value)) + by + pages) % pages) * Number(count.value);
      wish();
    }
  }

  function wish() {
    link.look({ fps: Number(fps.value), tiles: store.tiles.all.slice(first, first + Number(count.value)), focus: store.focus });
    drawLine();
  }

  function choose(name, move = true) {
    const from = store.focus;
    if (name !== null) enlargeTile(name);
    store.focus = name;
    store.large = null;
    large.hidden = name === null;
    stage.hidden = name !== null;
    wish();
    if (name === null) (([...grid.children].find((button) => button.dataset.name === from)) || grid.firstChild)?.focus();
    else if (move) close.focus();
  }

  /** Shows the tile's own picture at once, until a large one comes. */
  function enlargeTile(name) {
    const { tiles, columns, width, height } = store.tiles;
    const place = tiles.findIndex((tile) => tile.name === name);
    const context = largeCanvas.getContext("2d");
    largeCanvas.classList.add("msnb-pixels");
    if (place < 0 || !store.bitmap || !columns) context.clearRect(0, 0, largeCanvas.width, largeCanvas.height);
    else {
      largeCanvas.width = width;
      largeCanvas.height = height;
      context.drawImage(store.bitmap, (place % columns) * width, Math.floor(place / columns) * height, width, height, 0, 0, width, height);
    }
    setText(pressed, "");
    setText(facts, name);
    setText(trouble, "");
  }

  // Each number stays on one line with its name.
  const numbers = (tile) => [`step\u00a0${tile.step}`, `R\u00a0${formatNumber(tile.return)}`, ...(tile.value === null ? [] : [`V\u00a0${formatNumber(tile.value)}`])];

  function drawLine() {
    const { all } = store.tiles;
    const shown = Number(count.value);
    count.hidden = store.focus !== null;
    back.hidden = next.hidden = store.focus === null ? all.length <= shown : all.length < 2;
    const last = Math.min(first + shown, all.length);
    setText(range, store.focus === null && all.length > shown ? `${first + 1}–${last} of ${all.length}` : "");
  }

  function drawGrid() {
    const { tiles, columns, width, height } = store.tiles;
    empty.hidden = tiles.length > 0;
    stage.hidden = tiles.length === 0;
    if (!columns) canvas.hidden = true;
    else {
      canvas.hidden = false;
      const rows = Math.ceil(tiles.length / columns);
      if (canvas.width !== columns * width || canvas.height !== rows * height) {
        canvas.width = columns * width;
        canvas.height = rows * height;
      }
      if (store.bitmap) canvas.getContext("2d").drawImage(store.bitmap, 0, 0);
    }
    const across = columns || Math.min(3, Math.max(1, tiles.length));
    grid.style.gridTemplateColumns = `repeat(${across}, 1fr)`;
    grid.dataset.across = across;
    const tasks = new Set(tiles.map((tile) => tile.task));
    while (grid.children.length > tiles.length) grid.lastChild.remove();
    tiles.forEach((tile, place) => {
      let button = grid.children[place];
      if (!button) {
        button = h("button", { class: "msnb-tile" }, h("span", { class: "msnb-where" }), h("span", { class: "msnb-state-of" }), h("span", { class: "msnb-what" }));
        button.addEventListener("click", () => choose(button.dataset.name));
        grid.append(button);
      }
      const [where, state, what] = button.children;
      const said = tileTrouble(tile);
      button.dataset.name = tile.name;
      button.dataset.state = tile.state;
      button.title = `${tile.name} · ${tile.task}${said ? `\n${said}` : ""}`;
      button.setAttribute("aria-label", [`environment ${tile.name}`, tile.task, ...numbers(tile), said].filter(Boolean).join(", "));
      button.classList.toggle("msnb-bare", !tile.image);
      setText(where, `${tile.name}${tasks.size > 1 ? ` ${tile.task}` : ""}${tile.restarts ? ` ↻${tile.restarts}` : ""}`);
      setText(state, TILE_STATES[tile.state] || "");
      setText(what, numbers(tile).join(" · "));
    });
    drawLine();
  }

  function drawLarge() {
    const tile = store.large;
    if (!tile) {
      if (!store.tiles.all.includes(store.focus)) setText(facts, `${store.focus} is not there any more.`);
      return;
    }
    if (store.largeBitmap) {
      const { width, height } = store.largeBitmap;
      if (largeCanvas.width !== width || largeCanvas.height !== height) {
        largeCanvas.width = width;
        largeCanvas.height = height;
      }
      largeCanvas.getContext("2d").drawImage(store.largeBitmap, 0, 0);
      largeCanvas.classList.toggle("msnb-pixels", !tile.rendered);
    }
    frame.hidden = !store.largeBitmap;
    const words = tile.pressed || (tile.action ? `action ${tile.action.map((part) => formatNumber(part)).join(", ")}` : "");
    const said = tileTrouble(tile);
    largeCanvas.setAttribute("aria-label", `environment ${tile.name}`);
    setText(pressed, words);
    setText(facts, [tile.name, tile.task, ...numbers(tile), ...(said && tile.state === "running" ? [said] : [])].join(" · "));
    setText(trouble, tile.state === "running" ? "" : said);
    large.dataset.state = tile.state;
  }

  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Environments"), h("span", { class: "msnb-space" }), range, back, next, count, fps),
    empty, stage, large);
  element.addEventListener("keydown", (event) => {
    if (store.focus === null || event.target.tagName === "SELECT") return;
    const keys = { Escape: () => choose(null), ArrowLeft: () => turn(-1), ArrowRight: () => turn(1) };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  let known = "";
  return {
    element,
    update(changes) {
      if (!changes.has("tiles")) return;
      const names = store.tiles.all.join(" ");
      if (names !== known) {
        known = names;
        if (first >= store.tiles.all.length) first = 0;
        wish();
      }
      if (store.focus === null) drawGrid();
      else drawLarge();
    },
  };
});
