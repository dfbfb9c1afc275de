"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { labels, width, height, frames } = data;
  const stage = $("stage"), handle = $("handle"), region = $("region");
  const picks = [$("pick-left"), $("pick-right")];
  const sides = [$("left"), $("right")];
  const panels = [...document.querySelectorAll("#panels canvas")];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), Math.max(low, high));
  const canvas = () => Object.assign(document.createElement("canvas"), { width, height });
  // What is shown: frame, divider (per cent from the left), differences, enlargement and its middle (samples).
  const state = { frame: -1, at: 50, heat: false, zoom: 4, x: width / 2, y: height / 2, place: 0 };
  const layers = labels.map(canvas);  // pictures of the frame; the places in them are lossless
  const maps = data.maps.map(canvas);  // differences, by the index in `labels` of what is judged

  // --- Pictures ---
  const image = async (id) => { const img = $(id); await img.decode(); return img; };
  let wanted = 0;
  async function show(n) {
    n = clamp(n, 0, frames.length - 1);
    const turn = ++wanted;
    const frame = frames[n];
    const [whole, parts, heats] = await Promise.all([
      Promise.all(labels.map((_, k) => image(`f${n}-${k}`))),
      Promise.all(frame.places.map((_, p) => Promise.all(labels.map((_, k) => data.lossless ? null : image(`p${n}-${p}-${k}`))))),
      Promise.all(data.maps.map((_, m) => image(`h${n}-${m}`))),
    ]);
    if (turn !== wanted) return;  // another frame was asked for meanwhile
    layers.forEach((layer, k) => {
      const context = layer.getContext("2d", { willReadFrequently: true });
      context.drawImage(whole[k], 0, 0);
      frame.places.forEach(([x, y], p) => parts[p][k] && context.drawImage(parts[p][k], x, y));
    });
    maps.forEach((map, m) => {
      const context = map.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(heats[m], 0, 0, heats[m].naturalWidth * 2, heats[m].naturalHeight * 2);
    });
    state.frame = n;
    document.querySelectorAll("#strip button").forEach((button, i) => button.setAttribute("aria-pressed", String(i === n)));
    $("what").textContent = frame.text;
    $("places").replaceChildren(...frame.places.map((place, p) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `place ${p + 1}`;
      button.title = `mean difference ${place[4]} code values`;
      button.addEventListener("click", () => goTo(p));
      return button;
    }));
    goTo(0);
    draw();
    markFrame();
    document.body.dataset.ready = String(n);
  }
  const mapOf = (k) => maps[data.maps.indexOf(k)];
  const source = (k) => state.heat && data.maps.includes(k) ? mapOf(k) : layers[k];

  function draw() {
    sides.forEach((side, i) => {
      const k = Number(picks[i].value);
      if (side.width !== width || side.height !== height) Object.assign(side, { width, height });
      side.getContext("2d").drawImage(source(k), 0, 0);
      side.setAttribute("aria-label", `${labels[k]}, ${frames[state.frame].text}`);
      $(i ? "tag-right" : "tag-left").textContent = frames[state.frame].tags[k];
    });
    $("scale").hidden = !state.heat;
    $("heat").setAttribute("aria-pressed", String(state.heat));
    enlarge();
  }
  function setDivider(at) {
    state.at = clamp(at, 0, 100);
    stage.style.setProperty("--at", `${state.at}%`);
    handle.setAttribute("aria-valuenow", String(Math.round(state.at)));
    handle.setAttribute("aria-valuetext", `${Math.round(state.at)} % ${labels[Number(picks[0].value)]}`);
  }
  const flip = () => setDivider(state.at > 50 ? 0 : 100);
  const toggleHeat = () => { state.heat = !state.heat; draw(); };

  // --- Enlarged, all alike ---
  function enlarge() {
    const box = panels[0].getBoundingClientRect();
    const w = box.width / state.zoom, h = box.height / state.zoom;
    state.x = clamp(state.x, Math.min(w, width) / 2, width - Math.min(w, width) / 2);
    state.y = clamp(state.y, Math.min(h, height) / 2, height - Math.min(h, height) / 2);
    const left = state.x - w / 2, top = state.y - h / 2;
    panels.forEach((panel, k) => {
      panel.width = Math.round(box.width * (window.devicePixelRatio || 1));
      panel.height = Math.round(box.height * (window.devicePixelRatio || 1));
      const context = panel.getContext("2d");
      context.imageSmoothingEnabled = false;
      context.drawImage(source(k), left, top, w, h, 0, 0, panel.width, panel.height);
      panel.setAttribute("aria-label", `${labels[k]} at ${Math.round(state.x)}, ${Math.round(state.y)}, enlarged ${state.zoom} times`);
    });
    const percent = (part, all) => `${(100 * part) / all}%`;
    Object.assign(region.style, { left: percent(left, width), top: percent(top, height), width: percent(w, width), height: percent(h, height) });
    region.classList.toggle("low", top < height / 20);
    $("zoom").textContent = `${state.zoom}\u00d7`;
  }
  function goTo(p) {
    const place = frames[state.frame].places[p];
    state.place = p;
    [state.x, state.y] = [place[0] + place[2] / 2, place[1] + place[3] / 2];
    enlarge();
  }
  function enlargeBy(factor) { state.zoom = clamp(state.zoom * factor, 1, 32); enlarge(); }
  function move(dx, dy) { state.x += dx; state.y += dy; enlarge(); }

  function readPixel(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const x = Math.floor(state.x + (event.clientX - box.left - box.width / 2) / state.zoom);
    const y = Math.floor(state.y + (event.clientY - box.top - box.height / 2) / state.zoom);
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    $("pixel").textContent = `at ${x}, ${y}`;
    panels.forEach((panel, k) => {
      const rgb = layers[k].getContext("2d").getImageData(x, y, 1, 1).data;
      panel.parentNode.querySelector("span").textContent = `${rgb[0]} ${rgb[1]} ${rgb[2]}`;
    });
  }
  // Follows a pointer from the press until it is let go; `step` gets the way since the last call.
  function dragging(element, start, step) {
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.stopPropagation();
      element.setPointerCapture(event.pointerId);
      start(event);
      let [x, y] = [event.clientX, event.clientY];
      const moved = (now) => { step(now, now.clientX - x, now.clientY - y); [x, y] = [now.clientX, now.clientY]; };
      const done = () => { element.removeEventListener("pointermove", moved); };
      element.addEventListener("pointermove", moved);
      element.addEventListener("pointerup", done, { once: true });
      element.addEventListener("pointercancel", done, { once: true });
    });
  }
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    setDivider((100 * (event.clientX - box.left)) / box.width);
  };
  dragging(stage, follow, follow);
  stage.addEventListener("dblclick", (event) => {
    const box = stage.getBoundingClientRect();
    state.x = ((event.clientX - box.left) * width) / box.width;
    state.y = ((event.clientY - box.top) * height) / box.height;
    enlarge();
  });
  dragging(region.firstElementChild, () => {}, (_, dx, dy) => {
    const box = stage.getBoundingClientRect();
    move((dx * width) / box.width, (dy * height) / box.height);
  });
  panels.forEach((panel) => {
    dragging(panel, () => {}, (_, dx, dy) => move(-dx / state.zoom, -dy / state.zoom));
    panel.addEventListener("pointermove", readPixel);
  });

  // --- Charts: one cursor in all of them ---
  const plots = [...document.querySelectorAll(".plot .chart")];
  const line = (svg, name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    svg.append(element);
    return element;
  };
  const xOf = (svg, time) => {
    const { from, to, left, right } = svg.dataset;
    return Number(left) + ((time - from) / (to - from)) * (right - left);
  };
  const bottom = (svg) => svg.viewBox.baseVal.height - 40;
  plots.forEach((svg) => {
    svg.setAttribute("tabindex", "0");
    frames.forEach((frame, n) => {
      const x = xOf(svg, frame.time), y = bottom(svg);
      line(svg, "path", { class: "mark", d: `M${x},${y - 6}l4,7h-8z`, "data-frame": n });
    });
    line(svg, "line", { class: "cursor", y1: 24, y2: bottom(svg), x1: -9, x2: -9 });
    svg.addEventListener("pointermove", (event) => point(nearest(timeAt(svg, event))));
    svg.addEventListener("click", (event) => jump(timeAt(svg, event)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) point(clamp(pointed + step, 0, data.times.length - 1));
      else if (event.key === "Enter") jump(data.times[pointed]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  });
  let pointed = 0;
  const timeAt = (svg, event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const { from, to, left, right } = svg.dataset;
    return Number(from) + ((place.x - left) / (right - left)) * (to - from);
  };
  function nearest(time) {
    let [low, high] = [0, data.times.length - 1];
    while (high - low > 1) { const middle = (low + high) >> 1; if (data.times[middle] < time) low = middle; else high = middle; }
    return time - data.times[low] < data.times[high] - time ? low : high;
  }
  function jump(time) {
    const far = frames.map((frame) => Math.abs(frame.time - time));
    show(far.indexOf(Math.min(...far)));
  }
  function point(n) {
    pointed = n;
    const time = data.times[n];
    plots.forEach((svg) => {
      const cursor = svg.querySelector(".cursor"), x = xOf(svg, time);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      const entry = data.plots[svg.parentNode.id];
      const values = entry.series.map(([label, points]) => {
        if (!entry.times) return `${label} ${points[n].toFixed(entry.digits)}`;
        let i = 0;  // steps: the last one that starts before
        while (i + 1 < points.length - 1 && points[i + 1][0] <= time + 1e-6) i++;
        return `${label} ${points[i][1].toLocaleString("en", { maximumFractionDigits: entry.digits })}`;
      });
      svg.parentNode.querySelector("output").textContent = `frame ${data.numbers[n]}, ${time.toFixed(2)} s: ${values.join(", ")} ${entry.unit}`;
    });
  }
  function markFrame() {
    document.querySelectorAll(".chart .mark").forEach((mark) => mark.classList.toggle("on", Number(mark.dataset.frame) === state.frame));
    point(frames[state.frame].pair);
  }
  const rates = [...document.querySelectorAll("[data-rate]")];
  rates.forEach((button) => button.addEventListener("click", () => rates.forEach((other) => {
    other.setAttribute("aria-pressed", String(other === button));
    $(other.dataset.rate).hidden = other !== button;
  })));

  // --- Buttons and keys ---
  document.querySelectorAll("#strip button").forEach((button, n) => button.addEventListener("click", () => show(n)));
  picks.forEach((pick) => pick.addEventListener("change", () => { draw(); setDivider(state.at); }));
  $("flip").addEventListener("click", flip);
  $("heat").addEventListener("click", toggleHeat);
  $("more").addEventListener("click", () => enlargeBy(2));
  $("less").addEventListener("click", () => enlargeBy(0.5));
  const fullScreen = () => document.fullscreenElement ? document.exitFullscreen() : $("look").requestFullscreen();
  $("full").addEventListener("click", fullScreen);
  $("full").hidden = !document.fullscreenEnabled;
  $("theme").hidden = false;
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.style.colorScheme ? root.style.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.style.colorScheme = dark ? "light" : "dark";
  });
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const keys = {
    ArrowLeft: () => show(state.frame - 1), ArrowRight: () => show(state.frame + 1),
    1: () => setDivider(100), 2: () => setDivider(50), 3: () => setDivider(0), " ": flip,
    d: toggleHeat, f: fullScreen, "+": () => enlargeBy(2), "=": () => enlargeBy(2), "-": () => enlargeBy(0.5),
    p: () => goTo((state.place + 1) % frames[state.frame].places.length),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target, arrow = arrows[event.key];
    if (at.closest("select, summary")) return;
    if (at.closest("button, a") && (event.key === " " || event.key === "Enter")) return;
    let action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (at === handle) {
      const step = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 }[event.key];
      if (step) action = () => setDivider(state.at + step);
    } else if (panels.includes(at) && arrow) {
      const step = event.shiftKey ? 32 : 4;
      action = () => move(arrow[0] * step, arrow[1] * step);
    }
    if (!action || state.frame < 0) return;
    event.preventDefault();
    action();
  });
  addEventListener("resize", () => state.frame >= 0 && enlarge());
  setDivider(50);
  show(data.first);
})();
