"use strict";
// Tables that sort: a click on a header sorts by it, another click turns the order; cells without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const numeric = (column) => [...body.rows].some((row) => "value" in row.cells[column].dataset);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    const isNumeric = numeric(column);
    head.classList.toggle("right", isNumeric);
    button.addEventListener("click", () => {
      const first = isNumeric ? "descending" : "ascending", other = isNumeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [a, b].map((row) => row.cells[column]);
        if (!isNumeric) return sign * x.textContent.localeCompare(y.textContent);
        if (!x.dataset.value || !y.dataset.value) return Boolean(y.dataset.value) - Boolean(x.dataset.value);
        return sign * (x.dataset.value - y.dataset.value);
      });
      body.append(...rows);
    });
  });
}
for (const table of document.querySelectorAll("table:not(.sortable)")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (table.tBodies[0].rows[0]?.cells[column].classList.contains("number")) head.classList.add("right");
  });
}

// The confusion matrix: the counts of the cell that is pointed at or touched.
for (const matrix of document.querySelectorAll(".matrix")) {
  const readout = matrix.closest("figure").querySelector("output");
  matrix.addEventListener("pointerover", (event) => {
    if (event.target.matches(".cell")) readout.textContent = event.target.querySelector("title").textContent;
  });
}

// Pictures: a click enlarges one; arrow keys leaf through the pictures of the same image; Escape closes.
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "enlarged picture");
const bar = document.createElement("div"), title = document.createElement("p"), large = document.createElement("img");
dialog.append(bar, large);
document.body.append(dialog);
let panels = [], shown = 0;
function show(index) {
  shown = (index + panels.length) % panels.length;
  const picture = panels[shown].querySelector("img");
  large.src = picture.src;
  large.alt = picture.alt;
  title.textContent = picture.alt;
  [...bar.querySelectorAll("button[aria-pressed]")].forEach((tab, i) => tab.setAttribute("aria-pressed", i === shown));
}
function push(text, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", action);
  return button;
}
for (const row of document.querySelectorAll(".panels")) {
  const own = [...row.querySelectorAll("button")];
  own.forEach((panel, index) => panel.addEventListener("click", () => {
    panels = own;
    const tabs = own.map((each, i) => push(each.textContent, () => show(i)));
    tabs.forEach((tab) => tab.setAttribute("aria-pressed", false));
    bar.replaceChildren(title, ...tabs, push("Close", () => dialog.close()));
    show(index);
    dialog.showModal();
  }));
}
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") show(shown + 1);
  if (event.key === "ArrowLeft") show(shown - 1);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close();
});
