// A game on a canvas: shows the frames that come, acknowledges each, and says what the player does.
// The messages are described in play.py and game_loop.py.

const ALIVE_MS = 1000;
const DOUBLE_TAP_MS = 300;
const LARGEST_JUMP = 250; // pixels; browsers sometimes report leaps of a locked pointer

function element(tag, properties = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const view = crypto.getRandomValues(new Uint32Array(2)).join("-");
  const keys = model.get("key_map");
  const send = (message) => model.send({ ...message, view });
  const ended = new AbortController();
  const listen = (target, name, handler, options = {}) =>
    target.addEventListener(name, handler, { ...options, signal: ended.signal });

  // What is on the page.
  const canvas = element("canvas", {
    width: model.get("width"),
    height: model.get("height"),
    tabindex: "0",
    role: "application",
    "aria-label": `${model.get("title")}. Press Enter or click to play, Escape to pause.`,
  });
  const big = element("div", { class: "big" });
  const small = element("div");
  const banner = element("div", { class: "banner" }, [big, small]);
  const stage = element("div", { class: "stage" }, [canvas, banner]);
  const number = (label) => {
    const value = element("b", { text: "–" });
    return [value, element("span", {}, [element("span", { class: "label", text: label }), value])];
  };
  const [episode, episodeCell] = number("episode");
  const [step, stepCell] = number("step");
  const [total, totalCell] = number("return");
  const [reward, rewardCell] = number("last reward");
  const [speed, speedCell] = number("speed");
  const record = element("button", { type: "button", text: "Record", "aria-pressed": "false", title: "Save each episode when it ends" });
  const reset = element("button", { type: "button", text: "New episode" });
  const screen = element("button", { type: "button", text: "Full screen" });
  const said = element("div", { role: "status", "aria-live": "polite" });
  const help = element("div", { class: "help", "aria-label": "keys" });
  for (const [key, meaning] of model.get("help_lines"))
    help.append(element("span", {}, [element("kbd", { text: key }), ` ${meaning}`]));
  const root = element("div", { class: "msnb-play", "data-lm-suppress-shortcuts": "true" }, [
    element("div", { class: "bar" }, [
      element("span", { class: "title", text: model.get("title") }),
      element("span", { class: "space" }), record, reset, screen,
    ]),
    stage,
    element("div", { class: "bar numbers" }, [episodeCell, stepCell, totalCell, rewardCell, speedCell]),
    said, help,
  ]);
  el.append(root);
  const context = canvas.getContext("2d");

  // Frames.
  let hud = { state: "paused" };
  let drawn = [];
  let newest = 0; // a picture may be decoded after the one that follows it, and must not take its place
  function show(now) {
    hud = now;
    episode.textContent = hud.episode;
    step.textContent = hud.step;
    total.textContent = hud.return;
    reward.textContent = hud.reward > 0 ? `+${hud.reward}` : hud.reward;
    reward.className = hud.reward > 0 ? "good" : hud.reward < 0 ? "bad" : "";
    const since = performance.now() - 1000;
    drawn = drawn.filter((time) => time > since);
    speed.textContent = hud.state === "playing" ? `${hud.ticks_per_second} ticks/s, ${drawn.length} fps` : "–";
    record.setAttribute("aria-pressed", String(Boolean(hud.recording)));
    const texts = {
      paused: [hud.step ? "Paused" : "Click to play", hud.step ? "Click, or press Enter, to go on" : "or press Enter; Esc pauses"],
      over: [`Episode over: ${hud.ended}`, `return ${hud.return} in ${hud.step} ticks. Click, or press Enter, for another`],
      failed: ["The game has stopped", hud.error],
      closed: ["Closed", ""],
    };
    const [first, second] = texts[hud.state] ?? ["", ""];
    banner.hidden = hud.state === "playing";
    big.textContent = first;
    small.textContent = second;
    const message = hud.state === "failed" ? hud.error : hud.state === "over" ? `${first}. Return ${hud.return}. ${hud.note}` : hud.note;
    if (said.textContent !== message) said.textContent = message;
    canvas.classList.toggle("playing", hud.state === "playing");
    // Not when it is paused: a frame from before the click may still be on its way.
    if (["over", "failed", "closed"].includes(hud.state) && locked()) document.exitPointerLock();
  }
  async function receive(message, buffers) {
    if (message.k === "frame" && buffers.length) {
      try {
        const picture = await createImageBitmap(new Blob([buffers[0]], { type: "image/jpeg" }));
        if (ended.signal.aborted || message.seq < newest) return;
        context.drawImage(picture, 0, 0, canvas.width, canvas.height);
        picture.close();
        drawn.push(performance.now());
      } finally {
        send({ k: "ack", seq: message.seq });
      }
    }
    if (ended.signal.aborted || !["frame", "state"].includes(message.k) || message.seq < newest) return;
    newest = message.seq;
    show(message.hud);
  }
  const onMessage = (message, buffers) => receive(message, buffers ?? []);
  model.on("msg:custom", onMessage);

  // What the player does.
  const held = new Map(); // source (key code or mouse button) -> name of a button
  let pressed = [];
  let moved = [0, 0];
  let scrolled = 0;
  let scheduled = 0;
  let forwardReleased = -Infinity;
  const playing = () => hud.state === "playing";
  const locked = () => document.pointerLockElement === canvas;
  function flush() {
    cancelAnimationFrame(scheduled);
    scheduled = 0;
    send({ k: "input", held: [...new Set(held.values())], pressed, dx: moved[0], dy: moved[1], scroll: scrolled });
    pressed = [];
    moved = [0, 0];
    scrolled = 0;
  }
  const flushSoon = () => { scheduled ||= requestAnimationFrame(flush); };
  function press(source, name) {
    held.set(source, name);
    pressed.push(name);
    flush();
  }
  function release(source) {
    if (held.delete(source)) flush();
  }
  function releaseAll() {
    if (!held.size) return;
    held.clear();
    flush();
  }
  function pause() {
    releaseAll();
    if (playing()) send({ k: "do", what: "pause" });
    if (locked()) document.exitPointerLock();
  }
  function play() {
    if (["closed", "failed"].includes(hud.state)) return;
    canvas.focus({ preventScroll: true });
    send({ k: "do", what: "play" });
    hud = { ...hud, state: "playing" }; // until the next frame says so
    banner.hidden = true;
  }
  function lockPointer() {
    // Where the pointer cannot be locked, dragging turns the view.
    try {
      canvas.requestPointerLock()?.catch?.(() => {});
    } catch { /* as above */ }
  }

  listen(canvas, "keydown", (event) => {
    event.stopPropagation();
    if (event.code === "Tab") return;
    const name = keys[event.code];
    if (name || event.code === "Enter" || event.code === "Escape") event.preventDefault();
    if (event.repeat) return;
    if (event.code === "Escape") pause();
    else if (event.code === "Enter") {
      if (!locked()) lockPointer();
      play(); // even if it seems to be playing: a pause may not have been answered yet
    }
    else if (name && playing()) {
      if (name === "forward" && performance.now() - forwardReleased < DOUBLE_TAP_MS) held.set("double tap", "sprint");
      press(event.code, name);
    }
  });
  listen(canvas, "keyup", (event) => {
    event.stopPropagation();
    const name = keys[event.code];
    if (name) event.preventDefault();
    if (name === "forward") {
      forwardReleased = held.has("double tap") ? -Infinity : performance.now();
      held.delete("double tap");
    }
    release(event.code);
  });
  listen(canvas, "mousedown", (event) => {
    event.preventDefault();
    event.stopPropagation();
    canvas.focus({ preventScroll: true });
    if (!playing()) {
      if (event.button !== 0) return;
      lockPointer();
      play();
      return;
    }
    if (!locked()) lockPointer();
    if (event.button === 0) press("mouse 0", "attack");
    if (event.button === 2) press("mouse 2", "use");
  });
  listen(window, "mouseup", (event) => release(`mouse ${event.button}`));
  listen(document, "mousemove", (event) => {
    if (!playing() || !(locked() || (event.buttons && event.target === canvas))) return;
    if (Math.abs(event.movementX) > LARGEST_JUMP || Math.abs(event.movementY) > LARGEST_JUMP) return;
    // The picture may be shown larger or smaller than the game makes it; turning is by its own pixels.
    moved[0] += event.movementX;
    moved[1] += event.movementY;
    flushSoon();
  });
  listen(canvas, "wheel", (event) => {
    if (!playing()) return;
    event.preventDefault();
    event.stopPropagation();
    scrolled += Math.sign(event.deltaY || event.deltaX);
    flushSoon();
  }, { passive: false });
  for (const name of ["contextmenu", "click", "dblclick"])
    listen(canvas, name, (event) => { event.preventDefault(); event.stopPropagation(); });
  listen(canvas, "blur", pause);
  let wasLocked = false;
  listen(document, "pointerlockchange", () => {
    if (wasLocked && !locked()) pause(); // Esc
    wasLocked = locked();
  });
  listen(document, "visibilitychange", () => { if (document.hidden) pause(); });
  listen(window, "beforeunload", (event) => { if (playing()) event.preventDefault(); }); // Ctrl+W while sprinting
  listen(window, "pagehide", () => send({ k: "bye" }));

  listen(record, "click", () => send({ k: "do", what: "record", value: record.getAttribute("aria-pressed") !== "true" }));
  listen(reset, "click", () => { send({ k: "do", what: "reset" }); canvas.focus({ preventScroll: true }); });
  listen(screen, "click", async () => {
    try {
      await stage.requestFullscreen();
      await navigator.keyboard?.lock?.(Object.keys(keys)); // so that Ctrl+W reaches the game
    } catch (error) {
      said.textContent = `No full screen: ${error.message}`;
    }
    canvas.focus();
  });

  const alive = setInterval(() => { if (!document.hidden) send({ k: "alive" }); }, ALIVE_MS);
  send({ k: "hello" });

  return () => {
    clearInterval(alive);
    cancelAnimationFrame(scheduled);
    ended.abort();
    model.off("msg:custom", onMessage);
    if (locked()) document.exitPointerLock();
    send({ k: "bye" });
  };
}

export default { render };
