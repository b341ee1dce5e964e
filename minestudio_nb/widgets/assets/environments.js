// Live views of the environments: one picture for all, a button over each; one of them can be enlarged.

definePanel("environments", "Environments", ({ store, link }) => {
  const canvas = h("canvas", { class: "msnb-mosaic", width: 1, height: 1, "aria-hidden": "true" });
  const grid = h("div", { class: "msnb-tiles", role: "group", "aria-label": "environments; press one to enlarge it" });
  const stage = h("div", { class: "msnb-stage" }, canvas, grid);
  const empty = h("p", { class: "msnb-empty" }, "No environment runs.");
  const largeCanvas = h("canvas", { class: "msnb-large", width: 16, height: 9, role: "img" });
  const largeText = h("p", { class: "msnb-caption", "aria-live": "off" });
  const close = h("button", { onclick: () => choose(null) }, "Show all");
  const large = h("div", { class: "msnb-focus", hidden: true }, largeCanvas, largeText, close);
  let focus = null;
  let first = 0;

  const fps = h("select", { "aria-label": "pictures per second", onchange: wish });
  for (const rate of [0, 1, 2, 5, 10]) fps.append(h("option", { value: String(rate) }, rate ? `${rate} fps` : "off"));
  fps.value = "5";
  const count = h("select", { "aria-label": "number of environments shown", onchange: wish });
  for (const number of [1, 4, 9, 16]) count.append(h("option", { value: String(number) }, `${number} tiles`));
  count.value = "9";
  const turn = (by) => {
    const { all } = store.tiles;
    first = (first + by * Number(count.value) + Math.max(1, all.length)) % Math.max(1, all.length);
    wish();
  };
  const back = h("button", { "aria-label": "previous environments", onclick: () => turn(-1) }, "‹");
  const next = h("button", { "aria-label": "next environments", onclick: () => turn(1) }, "›");

  function wish() {
    const { all } = store.tiles;
    const wanted = all.slice(first, first + Number(count.value));
    link.look({ fps: Number(fps.value), tiles: focus ? [focus] : wanted });
  }

  function choose(name) {
    focus = name;
    large.hidden = name === null;
    stage.hidden = name !== null;
    wish();
    if (name === null) grid.querySelector("button")?.focus();
    else close.focus();
  }

  function label(tile) {
    const value = tile.value === null ? "" : ` · V ${formatNumber(tile.value)}`;
    return `step ${tile.step} · R ${formatNumber(tile.return)}${value}`;
  }

  function drawGrid() {
    const { tiles, columns, width, height } = store.tiles;
    empty.hidden = tiles.length > 0;
    stage.hidden = focus !== null || tiles.length === 0;
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
    grid.style.gridTemplateColumns = `repeat(${columns || Math.min(3, Math.max(1, tiles.length))}, 1fr)`;
    while (grid.children.length > tiles.length) grid.lastChild.remove();
    tiles.forEach((tile, place) => {
      let button = grid.children[place];
      if (!button) {
        button = h("button", { class: "msnb-tile" }, h("span", { class: "msnb-where" }), h("span", { class: "msnb-what" }));
        button.addEventListener("click", () => choose(button.dataset.name));
        grid.append(button);
      }
      button.dataset.name = tile.name;
      button.setAttribute("aria-label", `environment ${tile.name}, ${label(tile)}`);
      button.classList.toggle("msnb-bare", !tile.image);
      setText(button.children[0], tile.name);
      setText(button.children[1], label(tile));
    });
  }

  function drawLarge() {
    const tile = store.tiles.tiles.find((each) => each.name === focus);
    if (!tile) return;
    const { width, height } = store.tiles;
    if (store.bitmap) {
      largeCanvas.width = width;
      largeCanvas.height = height;
      largeCanvas.getContext("2d").drawImage(store.bitmap, 0, 0);
    }
    largeCanvas.setAttribute("aria-label", `environment ${focus}`);
    const action = tile.action ? ` · action [${tile.action.join(", ")}]` : "";
    setText(largeText, `${tile.name} · ${tile.task} · ${label(tile)}${action}`);
  }

  const element = h("div", {},
    h("div", { class: "msnb-line" }, h("h3", {}, "Environments"), h("span", { class: "msnb-space" }), back, next, count, fps),
    empty, stage, large);
  let known = 0;
  return {
    element,
    update(changes) {
      if (!changes.has("tiles")) return;
      if (store.tiles.all.length !== known) {
        known = store.tiles.all.length;
        first = 0;
        wish();
      }
      if (focus === null) drawGrid();
      else drawLarge();
    },
  };
});
