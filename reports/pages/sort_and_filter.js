"use strict";
(() => {
  const controls = document.getElementById("controls");
  const text = document.getElementById("text"), count = document.getElementById("count");
  const choices = [...controls.querySelectorAll("select")];
  const items = [...document.querySelectorAll("[data-words]")];
  controls.hidden = false;

  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
  function compare(x, y) {
    const numbers = [Number(x), Number(y)];
    return numbers.some(Number.isNaN) ? x.localeCompare(y) : numbers[0] - numbers[1];
  }
  function sort(table, heads, head) {
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const order = (a, b) => {
      const x = value(a, column), y = value(b, column);
      if (x === "" || y === "") return (x === "") - (y === "");
      return up ? compare(x, y) : compare(y, x);
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
  }
  function matches(item, choice) {
    const held = item.dataset[choice.dataset.field];
    return !choice.value || held === undefined || held.split(" ").includes(choice.value);
  }
  function filter() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0, rows = 0;
    for (const item of items) {
      const found = item.dataset.words.toLowerCase();
      const plain = found.replaceAll("_", " ");
      item.hidden = !(words.every((word) => found.includes(word) || plain.includes(word)) && choices.every((choice) => matches(item, choice)));
      rows += item.tagName === "TR";
      shown += item.tagName === "TR" && !item.hidden;
    }
    count.textContent = `${shown} of ${rows} ${count.dataset.what}`;
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    for (const head of heads) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, heads, head));
      head.append(button);
    }
  }
  text.addEventListener("input", filter);
  choices.forEach((choice) => choice.addEventListener("change", filter));
  filter();
})();
