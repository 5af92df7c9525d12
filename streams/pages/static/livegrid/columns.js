// Which columns there can be, and how each is sorted, drawn and exported.

import { AgeCell, IdCell, MetricCell, StatusCell } from "./cells.js";
import { fixed } from "./formats.js";

const collator = new Intl.Collator("en", { numeric: true });
const SEVERITY = { down: 0, degraded: 1, unknown: 2, up: 3 };
const MAX_DEFAULT_METRICS = 9;

export const DEFAULT_SORT = [{ id: "kind", isDown: false }];

const text = (a, b) => collator.compare(a, b);
const number = (a, b) => a - b;

const isAbsent = (value) => value === undefined || value === null || value === "" || Number.isNaN(value);

// What is absent comes last, up or down; what is equal comes by id.
function ordered(compare) {
  return (a, b, { data: rowA }, { data: rowB }, isDown) => {
    if (isAbsent(a) !== isAbsent(b)) return isAbsent(a) === isDown ? -1 : 1;
    return (!isAbsent(a) && compare(a, b)) || (isDown ? text(rowB.id, rowA.id) : text(rowA.id, rowB.id));
  };
}

const ENTITY = [
  { id: "kind", label: "kind", doc: "Kind of entity", width: 100, value: (row) => row.kind, compare: text },
  { id: "id", label: "id", doc: "Id of the entity", width: 190, value: (row) => row.id, compare: text, cell: IdCell },
  {
    id: "status",
    label: "status",
    doc: "up, degraded, down or unknown; sorts what is wrong first",
    width: 140,
    value: (row) => row.status,
    compare: (a, b) => (SEVERITY[a] ?? 2) - (SEVERITY[b] ?? 2),
    cell: StatusCell,
  },
  { id: "status_reason", label: "reason", doc: "Why it has this status", width: 240, value: (row) => row.status_reason, compare: text },
  moment("status_since_ms", "since", "How long it has had this status", (row) => row.status_since_ms || null, false),
  moment("observed_at_ms", "age", "Age of its newest value, against the interval of its source", (row) => row.observed_at_ms, true),
  { id: "faults", label: "faults", doc: "Faults of the scenario", width: 140, value: (row) => (row.faults ?? []).join(" "), compare: text },
  { id: "simulated", label: "simulated", doc: "Whether its values are simulated", width: 90, value: (row) => (row.simulated ? "yes" : ""), compare: text },
  { id: "version", label: "version", doc: "Number of its changes", width: 90, value: (row) => row.version, compare: number, isNumber: true },
];

function moment(id, label, doc, value, isExpected) {
  // By age: the youngest first.
  const compare = (a, b) => b - a;
  return { id, label, doc, width: 82, value, compare, cell: AgeCell, isNumber: true, context: { moment: value, isExpected }, out: (ms) => (ms ? new Date(ms).toISOString() : "") };
}

/** All columns that can be chosen, of metrics, attributes and features that were seen or are asked for. */
export class Columns {
  constructor(metrics, defaults) {
    this.metrics = new Map(metrics.map((metric) => [metric.name, metric]));
    this.defaults = defaults;
    this.seen = { metrics: new Set(), attributes: new Set(), features: new Set() };
    this.known = new Map(ENTITY.map((column) => [column.id, column]));
  }

  /** Learn what rows have; true when there is something new. */
  learn(rows) {
    let isNew = false;
    for (const row of rows) {
      for (const part of ["metrics", "attributes", "features"]) {
        const seen = this.seen[part];
        for (const name in row[part]) {
          if (seen.has(name)) continue;
          seen.add(name);
          isNew = true;
        }
      }
    }
    return isNew;
  }

  /** The columns that are shown unless somebody chose others. */
  usual() {
    const metrics = [...new Set([...this.defaults, ...this.metrics.keys(), ...this.seen.metrics])];
    const names = metrics.filter((name) => this.seen.metrics.has(name)).slice(0, MAX_DEFAULT_METRICS);
    const pool = this.seen.attributes.has("nodepool") ? ["attributes.nodepool"] : [];
    return ["kind", "id", "status", ...pool, "observed_at_ms", ...names].map((id) => ({
      id,
      width: null,
      side: id === "kind" || id === "id" ? "left" : null,
    }));
  }

  /** What can be chosen, in groups: [{title, columns: [{id, label, doc}]}]. */
  groups() {
    const order = [...this.metrics.keys()];
    const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
    const metrics = [...this.seen.metrics].sort((a, b) => place(a) - place(b) || text(a, b));
    const named = (part) => [...this.seen[part]].sort(text).map((name) => this.column(`${part}.${name}`));
    return [
      { title: "Entity", columns: ENTITY },
      { title: "Metrics", columns: metrics.map((name) => this.column(name)) },
      { title: "Attributes", columns: named("attributes") },
      { title: "Features", columns: named("features") },
    ].filter(({ columns }) => columns.length);
  }

  /** A column by its id: a field, attributes.x, features.x, or the name of a metric. */
  column(id) {
    if (!this.known.has(id)) this.known.set(id, this.make(id));
    return this.known.get(id);
  }

  make(id) {
    const [, part, name] = /^(attributes|features)\.(.+)$/s.exec(id) ?? [];
    if (part === "attributes") {
      const label = name === "nodepool" ? "pool" : name;
      return { id, label, doc: `Attribute ${name}`, width: 110, value: (row) => row.attributes?.[name], compare: text };
    }
    if (part === "features") {
      const show = (value) => (typeof value === "number" ? fixed(value, 2) : (value ?? ""));
      return { id, label: name, doc: `Feature ${name}, computed`, width: 110, value: (row) => row.features?.[name], compare: number, isNumber: true, show };
    }
    const metric = this.metrics.get(id) ?? { name: id, unit: "", label: id, doc: "Not in the catalogue" };
    return { id, label: metric.label, doc: `${id}: ${metric.doc}`, width: 104, value: (row) => row.metrics[id], compare: number, cell: MetricCell, isNumber: true, context: { metric } };
  }

  /** Column definitions of AG Grid for columns that are shown, with their sort. */
  definitions(shown, sort) {
    return shown.map(({ id, width, side }) => {
      const column = this.column(id);
      const place = sort.findIndex((term) => term.id === id);
      return {
        colId: id,
        headerName: column.label,
        headerTooltip: column.doc,
        width: width ?? column.width,
        pinned: side,
        valueGetter: ({ data }) => column.value(data),
        // A cell is drawn anew with each new row, also when only its age, quality or badges changed.
        equals: column.cell ? (_a, _b) => false : undefined,
        valueFormatter: column.show ? ({ value }) => column.show(value) : undefined,
        comparator: ordered(column.compare),
        cellRenderer: column.cell,
        context: column.context,
        cellClass: column.isNumber ? "tw-number" : column.cell ? "" : "tw-text",
        headerClass: column.isNumber ? "ag-right-aligned-header" : "",
        sort: place < 0 ? null : sort[place].isDown ? "desc" : "asc",
        sortIndex: place < 0 ? null : place,
      };
    });
  }
}

/** What a cell is in an export: a number, a text, or "". */
export function exported(column, row) {
  const value = column.value(row) ?? "";
  return column.out ? column.out(value) : value;
}
