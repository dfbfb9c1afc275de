// The questions one by one; what was left and what right is unmasked after the last answer.
"use strict";
(() => {
  const $$ = (id) => document.getElementById(id);
  const data = JSON.parse($$("data").textContent);
  const memory = "clarivid-blind-" + data.sheet;
  const words = { left: "left", right: "right", same: "no difference" };
  let votes = [];
  let seconds = [];
  let began = 0;
  let zoom = 0;
  let flipped = false;
  let shown = "left";

  const keep = () => {
    try {
      localStorage.setItem(memory, JSON.stringify({ votes, seconds }));
    } catch {
      // A page from the disk may not be allowed to: then a reload begins anew.
    }
  };
  const recall = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(memory) || "null");
      if (kept && Array.isArray(kept.votes) && kept.votes.length <= data.count) {
        ({ votes, seconds } = kept);
      }
    } catch {
      votes = [];
      seconds = [];
    }
  };

  const asking = () => !$$("ask").hidden;
  const show = (section) => {
    for (const id of ["start", "ask", "end"]) $$(id).hidden = id !== section;
  };

  // Sample by sample: a whole number of the screen's dots for each sample of the picture.
  const scale = () => {
    const picture = $$("i0-0");
    const room = Math.max(document.documentElement.clientWidth - 24, 200) * devicePixelRatio;
    const fits = Math.max(1, Math.min(3, Math.floor(room / ((flipped ? 1 : 2) * picture.naturalWidth))));
    return (zoom || fits) / devicePixelRatio;
  };
  const draw = () => {
    const n = votes.length;
    for (const [side, id] of [[0, "left"], [1, "right"]]) {
      const source = $$("i" + n + "-" + side);
      const image = $$(id);
      image.src = source.src;
      image.style.width = source.naturalWidth * scale() + "px";
      image.parentElement.classList.toggle("seen", id === shown);
    }
    $$("two").classList.toggle("flip", flipped);
    $$("flip").setAttribute("aria-pressed", String(flipped));
    $$("where").textContent = n + 1 + " of " + data.count + (flipped ? ", " + shown : "");
    $$("progress").value = n;
    $$("back").disabled = n === 0;
  };
  const ask = () => {
    show("ask");
    began = performance.now();
    draw();
  };
  const vote = (choice) => {
    votes.push(choice);
    seconds.push(Math.round((performance.now() - began) / 100) / 10);
    keep();
    if (votes.length < data.count) ask();
    else finish();
  };
  const back = () => {
    if (!votes.length) return;
    votes.pop();
    seconds.pop();
    keep();
    ask();
  };

  // Marsaglia's xorshift32, as clarivid.blind.mask has it.
  const unmask = () => {
    let state = data.seed >>> 0;
    const bytes = Uint8Array.from(atob(data.masked), (letter) => letter.charCodeAt(0));
    for (let n = 0; n < bytes.length; n++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      state >>>= 0;
      bytes[n] ^= state & 255;
    }
    return JSON.parse(new TextDecoder().decode(bytes));
  };
  const wilson = (wins, tries) => {
    const z = 1.959964;
    const share = wins / tries;
    const square = (z * z) / tries;
    const middle = (share + square / 2) / (1 + square);
    const half = (z * Math.sqrt((share * (1 - share)) / tries + square / (4 * tries))) / (1 + square);
    return [Math.max(0, middle - half), Math.min(1, middle + half)];
  };
  const percent = (value) => Math.round(100 * value) + " %";
  const share = (a, b) => {
    if (!(a + b)) return "-";
    const [low, high] = wilson(b, a + b);
    return percent(b / (a + b)) + " (" + percent(low) + " to " + percent(high) + ")";
  };
  const row = (kind, cells) => {
    const line = document.createElement("tr");
    cells.forEach((text, n) => {
      const cell = document.createElement(kind === "th" || n === 0 ? "th" : "td");
      cell.textContent = text;
      line.append(cell);
    });
    return line;
  };

  const finish = () => {
    const told = unmask();
    const sides = votes.map((choice, n) => (choice === "same" ? 2 : told.items[n].left ^ (choice === "right")));
    const tally = (pair) => {
      const count = [0, 0, 0];
      sides.forEach((side, n) => {
        if (pair === null || told.items[n].pair === pair) count[side]++;
      });
      return count;
    };
    const [a, b] = told.labels;
    const body = $$("counts").tBodies[0];
    $$("counts").tHead.replaceChildren(row("th", ["clip", a, b, "no difference", b + " among those that chose"]));
    const pairs = [...new Set(told.items.map((item) => item.pair))];
    const line = (name, count) => row("td", [name, ...count.map(String), share(count[0], count[1])]);
    body.replaceChildren(...pairs.map((pair) => line(pair, tally(pair))), line("all", tally(null)));
    const [forA, forB, same] = tally(null);
    $$("verdict").textContent =
      forA === forB
        ? "You chose " + a + " and " + b + " equally often: " + forA + " times each."
        : "You chose " + (forB > forA ? b : a) + " " + Math.max(forA, forB) + " times, " +
          (forB > forA ? a : b) + " " + Math.min(forA, forB) + " times, and saw no difference " + same + " times.";
    $$("votes").replaceChildren(
      ...votes.map((choice, n) => {
        const item = document.createElement("li");
        const what = sides[n] === 2 ? "" : ", which was " + told.labels[sides[n]];
        item.textContent = told.items[n].pair + ", frame " + told.items[n].frame + ": " + words[choice] + what;
        return item;
      }),
    );
    $$("json").textContent = saved();
    show("end");
  };
  const saved = () =>
    JSON.stringify({ format: 1, what: "votes", sheet: data.sheet, votes, seconds }, null, 1) + "\n";

  $$("go").addEventListener("click", () => (votes.length < data.count ? ask() : finish()));
  for (const choice of ["left", "same", "right"]) {
    $$("choose-" + choice).addEventListener("click", () => vote(choice));
  }
  for (const side of ["left", "right"]) $$(side).addEventListener("click", () => vote(flipped ? shown : side));
  $$("back").addEventListener("click", back);
  $$("zoom").addEventListener("click", () => {
    zoom = Math.round(scale() * devicePixelRatio) % 4 + 1;
    draw();
  });
  const flip = () => {
    if (!flipped) flipped = true;
    else if (shown === "left") shown = "right";
    else shown = "left";
    draw();
  };
  $$("flip").addEventListener("click", () => {
    if (flipped) {
      flipped = false;
      draw();
    } else flip();
  });
  $$("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([saved()], { type: "application/json" }));
    link.download = "votes-" + data.sheet.slice(0, 6) + "-" + Date.now().toString(36) + ".json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
  $$("again").addEventListener("click", () => {
    votes = [];
    seconds = [];
    keep();
    show("start");
  });
  const keys = {
    ArrowLeft: () => vote("left"),
    ArrowRight: () => vote("right"),
    ArrowDown: () => vote("same"),
    u: back,
    z: () => $$("zoom").click(),
    " ": flip,
  };
  addEventListener("keydown", (event) => {
    const does = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does || !asking() || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    event.preventDefault();
    does();
  });
  addEventListener("resize", () => asking() && draw());
  recall();
  if (votes.length) $$("go").textContent = votes.length < data.count ? "Go on" : "Result";
})();
