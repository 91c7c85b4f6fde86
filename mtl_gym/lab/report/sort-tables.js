// Sort a table by a click on a column head: numbers from the largest, text from A, empty cells last.
"use strict";
// Return the number at the start of a cell: 98.9 for "98.9 ± 0.3", 16147 for "16,147".
function numberOf(text) {
  const found = /^[-+−]?(\d[\d,]*)(\.\d+)?(?![\d:])/.exec(text);
  return found ? Number(found[0].replace(/,/g, "").replace("−", "-")) : NaN;
}
const textOf = (row, column) => row.cells[column].textContent.trim();
const isEmpty = (row, column) => ["", "-"].includes(textOf(row, column));
const isNumeric = (rows, column) => rows.every(row => !Number.isNaN(numberOf(textOf(row, column))));
function sortBy(head, down) {
  const table = head.closest("table"), body = table.tBodies[0], column = head.cellIndex;
  const rows = [...body.rows], filled = rows.filter(row => !isEmpty(row, column));
  const numeric = isNumeric(filled, column);
  const before = head.getAttribute("aria-sort");
  down ??= before ? before === "ascending" : numeric;
  filled.sort((a, b) => (down ? -1 : 1) * (numeric
    ? numberOf(textOf(a, column)) - numberOf(textOf(b, column))
    : textOf(a, column).localeCompare(textOf(b, column), "en", { numeric: true })));
  body.append(...filled, ...rows.filter(row => isEmpty(row, column)));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}
// Where a page has no buttons in the heads of its tables, tables of figures get them.
function addButtons(table) {
  const heads = table.tHead ? [...table.tHead.rows[0].cells] : [], rows = [...(table.tBodies[0]?.rows ?? [])];
  const figures = column => {
    const filled = rows.filter(row => !isEmpty(row, column));
    return filled.length > 2 && isNumeric(filled, column);
  };
  if (heads.some(head => head.querySelector("button")) || !heads.some(head => figures(head.cellIndex))) return;
  for (const head of heads) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
  }
}
document.querySelectorAll("table").forEach(addButtons);
for (const button of document.querySelectorAll("thead th > button")) {
  button.addEventListener("click", () => sortBy(button.parentElement));
}
