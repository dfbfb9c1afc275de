"use strict";
// Shows the one figure that the three menus name; the choice is kept in the address, so it can be sent to others.
(() => {
  const form = document.querySelector(".pickers");
  const picks = ["clip", "encoder", "score"].map((name) => document.getElementById("pick-" + name));
  let shown = document.querySelector("#figures > figure");
  const show = () => {
    const id = "rd-" + picks.map((pick) => pick.value).join("-");
    const figure = document.getElementById(id);
    if (!figure) return;
    shown.hidden = true;
    figure.hidden = false;
    shown = figure;
    history.replaceState(null, "", "#" + id);
  };
  const wanted = location.hash.match(/^#rd-(\d+)-(\d+)-(\w+)$/);
  if (wanted && document.getElementById(wanted[0].slice(1))) {
    picks.forEach((pick, i) => { pick.value = wanted[i + 1]; });
    show();
  }
  picks.forEach((pick) => pick.addEventListener("change", show));
  form.hidden = false;
})();
