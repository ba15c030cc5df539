"use strict";
(() => {
  const table = document.getElementById("tasks"), body = table.tBodies[0];
  const rows = [...body.rows], heads = [...table.querySelectorAll("th[data-column]")];
  const text = document.getElementById("text"), kind = document.getElementById("kind");
  const count = document.getElementById("count");
  document.getElementById("controls").hidden = false;

  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  function sort(head) {
    const column = Number(head.dataset.column);
    const up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const compare = (a, b) => {
      const x = value(a, column), y = value(b, column);
      if (x === "" || y === "") return (x === "") - (y === "");
      const order = column ? Number(x) - Number(y) : x.localeCompare(y);
      return up ? order : -order;
    };
    body.append(...rows.sort(compare));
  }
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const name = row.cells[0].textContent.toLowerCase().replaceAll("_", " ");
      const kinds = row.dataset.kinds.split(" ");
      row.hidden = !(words.every((word) => name.includes(word.replaceAll("_", " "))) && (!kind.value || kinds.includes(kind.value)));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} tasks`;
  }
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
  }
  text.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  filter();
})();
