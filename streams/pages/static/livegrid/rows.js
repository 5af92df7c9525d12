// The rows that the grid has, those that wait while it is paused, and how many there are of each status.

/** The key of a row in the grid. */
export function keyOf(row) {
  return `${row.kind}/${row.id}`;
}

/**
 * Draws through `grid`: `replace(rows)`, `change({add, update, remove})`.
 * `names(rows)` is told of all rows, to learn of their metrics and attributes.
 */
export class Rows {
  constructor(grid, names) {
    this.grid = grid;
    this.names = names;
    this.shown = new Map();
    this.statuses = {};
    this.coming = null; // a whole new set, until all of it is there
    this.waiting = null; // while paused: {whole: Map or null, changes: Map of row or null}
    this.isAsked = false;
    this.isDirect = false;
  }

  get isPaused() {
    return this.waiting !== null;
  }

  /** [1] Rows whose changes are not drawn yet. */
  get waitingCount() {
    if (!this.waiting) return 0;
    return this.waiting.whole ? this.waiting.whole.size : this.waiting.changes.size;
  }

  /** A whole new set comes; `isAsked`: somebody waits for it, also when paused. */
  begin(isAsked) {
    this.coming = new Map();
    this.isAsked = isAsked;
    this.isDirect = false;
    if (isAsked && this.waiting) this.waiting = { whole: null, changes: new Map() };
  }

  put(rows) {
    this.names(rows);
    if (this.coming) {
      for (const row of rows) this.coming.set(keyOf(row), row);
      // An empty table shows what there is at once; else the old rows stay until the new ones are whole.
      if (!this.shown.size && (this.isAsked || !this.waiting)) this.isDirect = true;
      if (this.isDirect) this.draw(rows);
    } else if (this.waiting) {
      for (const row of rows) this.wait(keyOf(row), row);
    } else {
      this.draw(rows);
    }
  }

  drop(keys) {
    for (const key of keys.map(keyOf)) {
      if (this.coming) this.coming.delete(key);
      else if (this.waiting) this.wait(key, null);
      else this.erase([key]);
    }
  }

  /** All of the new set is there. */
  whole() {
    const coming = this.coming;
    this.coming = null;
    if (coming && this.isDirect) {
      this.erase([...this.shown.keys()].filter((key) => !coming.has(key)));
    } else if (coming && this.waiting && !this.isAsked) {
      this.waiting = { whole: coming, changes: new Map() };
    } else if (coming) {
      this.replace(coming);
    }
    this.isDirect = false;
  }

  pause() {
    this.waiting ??= { whole: null, changes: new Map() };
  }

  resume() {
    const waiting = this.waiting;
    this.waiting = null;
    if (!waiting) return;
    if (waiting.whole) {
      this.replace(waiting.whole);
      return;
    }
    const rows = [];
    const gone = [];
    for (const [key, row] of waiting.changes) row ? rows.push(row) : gone.push(key);
    this.draw(rows);
    this.erase(gone);
  }

  wait(key, row) {
    const { whole, changes } = this.waiting;
    if (!whole) changes.set(key, row);
    else if (row) whole.set(key, row);
    else whole.delete(key);
  }

  replace(rows) {
    this.shown = rows;
    this.statuses = {};
    for (const row of rows.values()) this.count(row, 1);
    this.grid.replace([...rows.values()]);
  }

  draw(rows) {
    const isFirst = !this.shown.size;
    const add = [];
    const update = [];
    for (const row of rows) {
      const key = keyOf(row);
      const before = this.shown.get(key);
      if (before) this.count(before, -1);
      this.count(row, 1);
      (before ? update : add).push(row);
      this.shown.set(key, row);
    }
    if (isFirst && rows.length) this.grid.replace(add);
    else if (rows.length) this.grid.change({ add, update });
  }

  erase(keys) {
    const remove = [];
    for (const key of keys) {
      const row = this.shown.get(key);
      if (!row) continue;
      this.count(row, -1);
      this.shown.delete(key);
      remove.push(row);
    }
    if (remove.length) this.grid.change({ remove });
  }

  count(row, by) {
    this.statuses[row.status] = (this.statuses[row.status] ?? 0) + by;
  }
}
