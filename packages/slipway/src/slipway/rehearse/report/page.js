"use strict";
// Shows the time of the statement that is pointed at, or has the focus, in all tracks.
(() => {
  const panel = document.getElementById("focus");
  const ranges = [...document.querySelectorAll(".focused")];
  let shown = null;

  function show(statement) {
    if (statement === shown) return;
    shown = statement;
    const { x, width } = statement?.dataset ?? {};
    for (const range of ranges) {
      if (x === undefined) {
        range.removeAttribute("width");
      } else {
        range.setAttribute("x", `${x}%`);
        range.setAttribute("width", `${width}%`);
      }
    }
    panel.hidden = !statement;
    panel.replaceChildren(...(statement ? told(statement) : []));
  }

  function told(statement) {
    const line = document.createElement("p");
    for (const part of statement.querySelectorAll(".does, .needs, .fact")) {
      line.append(line.childNodes.length ? ": " : "", part.cloneNode(true));
    }
    const locks = statement.querySelector(".locks, .facts > p:not(.place)");
    return locks ? [line, locks.cloneNode(true)] : [line];
  }

  for (const statement of document.querySelectorAll(".statement")) {
    statement.addEventListener("pointerenter", () => show(statement));
    statement.addEventListener("pointerleave", () => show(null));
    statement.addEventListener("focusin", () => show(statement));
    statement.addEventListener("focusout", () => show(null));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") show(null);
  });
  document.documentElement.classList.add("has-script");
})();
