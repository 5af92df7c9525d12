// What is seen, as a file: the rows in their order, the columns in theirs.

import { exported } from "./columns.js";

const FORMULA = /^[=+\-@\t\r]/;

/** Columns as `columns` are, rows as `rows` are: {type, name, text} of the file. */
export function fileOf(format, columns, rows, view) {
  const name = `twin-${view.world}-${new Date().toISOString().slice(0, 19).replace(/:/g, "")}`;
  if (format === "json") {
    const found = rows.map((row) => Object.fromEntries(columns.map((column) => [column.id, exported(column, row)])));
    return { type: "application/json", name: `${name}.json`, text: JSON.stringify({ ...view, rows: found }, null, 1) };
  }
  return { type: "text/csv;charset=utf-8", name: `${name}.csv`, text: format === "excel" ? excel(columns, rows) : csv(columns, rows) };
}

function csv(columns, rows) {
  return lines([columns.map(({ id }) => id), ...rows.map((row) => columns.map((column) => exported(column, row)))], ",");
}

// Excel reads the list separator and the decimal sign of the country, and takes text for a formula.
function excel(columns, rows) {
  const isComma = (0.5).toLocaleString().includes(",");
  const cell = (value) => {
    if (typeof value === "number") return isComma ? String(value).replace(".", ",") : value;
    return FORMULA.test(value) ? `'${value}` : value;
  };
  const table = [columns.map(({ id }) => id), ...rows.map((row) => columns.map((column) => exported(column, row)))];
  return `\ufeff${lines(table.map((line) => line.map(cell)), isComma ? ";" : ",")}`;
}

function lines(table, separator) {
  const quoted = (value) => {
    const text = String(value);
    return /[",;\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return table.map((line) => `${line.map(quoted).join(separator)}\r\n`).join("");
}

/** Let the browser keep a file. */
export function save({ type, name, text }) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
