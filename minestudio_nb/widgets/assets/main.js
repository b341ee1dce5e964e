// Builds the panels that are wanted and passes on what changed.

/** The picture that a message brings, or the one before where it says that this is the same. */
async function newest(old, { buffer, same }, buffers) {
  if (same) return old;
  if (old) old.close();
  return buffer === undefined ? null : createImageBitmap(new Blob([buffers[buffer]], { type: "image/jpeg" }));
}

function render({ model, el }) {
  const root = h("div", { class: "msnb", role: "region", "aria-label": `Live training of ${model.get("session_name")}` });
  el.append(root);
  const store = new Store();
  root.msnbStore = store; // for tests and the curious
  const panels = [];
  const lost = h("p", { class: "msnb-lost", role: "alert", hidden: true });
  const waiting = h("p", { class: "msnb-waits", role: "status" }, "Waiting for the kernel …");
  root.append(waiting);
  // Where it is fed, the display takes the place of the picture that stays in a saved notebook.
  const key = model.get("poster_key");
  const showPoster = (yes) => {
    for (const poster of document.getElementsByClassName(`msnb-for-${key}`)) poster.hidden = !yes;
  };
  // Keys that steer a panel must not reach the notebook's own shortcuts; saving and the like must.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  });

  const update = (changes) => {
    for (const panel of panels) {
      try {
        panel.update(changes);
      } catch (error) { // the other panels go on
        console.error("minestudio_nb:", error);
      }
    }
  };

  const link = new Link(model, async (message, buffers) => {
    const changes = store.take(message, buffers);
    if (changes === null) {
      link.hello();
      return;
    }
    if (message.tiles) {
      store.tiles = message.tiles;
      store.large = (message.large || []).find((each) => each.name === store.focus) || null;
      store.bitmap = await newest(store.bitmap, message.tiles, buffers);
      store.largeBitmap = await newest(store.largeBitmap, store.large || {}, buffers);
      changes.add("tiles");
    }
    root.classList.toggle("msnb-dark", isDark(el));
    if (changes.has("history")) {
      root.classList.add("msnb-live");
      waiting.remove();
    }
    if (changes.has("head")) showPoster(false);
    update(changes);
  }, (silent) => {
    lost.hidden = !silent;
    store.silent = silent;
    update(new Set(["head"]));
    const name = store.head.name || model.get("session_name");
    setText(lost, silent ? `The kernel does not answer: it was restarted, has ended, or is very busy. What you see is from before ${clockTime(Date.now() / 1000)}. ` +
      `After a restart, OnlineSession.attach(${JSON.stringify(name)}).dashboard() shows a session that goes on.` : "");
  });

  const context = { store, link, keys: model.get("setting_keys"), root };
  for (const name of model.get("panels")) {
    const { title, make } = PANEL_MAKERS[name];
    const panel = make(context);
    panels.push(panel);
    root.append(h("section", { class: `msnb-panel msnb-${name}`, "aria-label": title }, panel.element));
  }
  const watching = watchBar(context);
  panels.push(watching);
  root.querySelector(".msnb-panel")?.prepend(lost, watching.element);
  root.classList.toggle("msnb-dark", isDark(el));

  // What nobody can see is not sent.
  const visible = () => !document.hidden && root.isConnected;
  const onVisibility = () => link.look({ visible: visible() });
  document.addEventListener("visibilitychange", onVisibility);
  const watcher = new IntersectionObserver((entries) => {
    link.look({ visible: visible() && entries[entries.length - 1].isIntersecting });
  });
  watcher.observe(root);

  return () => {
    showPoster(true);
    watcher.disconnect();
    document.removeEventListener("visibilitychange", onVisibility);
    link.close();
    for (const panel of panels) if (panel.destroy) panel.destroy();
    for (const bitmap of [store.bitmap, store.largeBitmap]) if (bitmap) bitmap.close();
  };
}

export default { render };
