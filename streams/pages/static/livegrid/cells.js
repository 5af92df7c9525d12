// Cells that are more than text. Each is drawn once and changed in place; those that show an age change with time.

import { ABSENT, ageText, exactly, freshness, parts, timeText } from "./formats.js";

const MARKS = { interpolated: "≈", held: "‖" };
const MEANINGS = { interpolated: "interpolated between two samples", held: "held since its last sample" };

/** The cells on the screen whose look depends on the time. */
export const ticking = new Set();

function element(tag, className, parent) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  parent?.append(made);
  return made;
}

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function style(node, className) {
  if (node.className !== className) node.className = className;
}

class Cell {
  init(params) {
    this.params = params;
    this.gui = this.make();
    this.gui.addEventListener("mouseenter", () => {
      this.gui.title = this.title();
    });
    this.draw();
  }

  getGui() {
    return this.gui;
  }

  refresh(params) {
    this.params = params;
    this.draw();
    return true;
  }

  get row() {
    return this.params.data;
  }

  get page() {
    return this.params.context;
  }

  title() {
    return "";
  }
}

class TickingCell extends Cell {
  init(params) {
    super.init(params);
    ticking.add(this);
  }

  destroy() {
    ticking.delete(this);
  }

  /** [ms] Age of a moment; null when there is none. */
  age(ms) {
    return typeof ms === "number" ? Math.max(0, this.page.clock.now() - ms) : null;
  }
}

export class IdCell extends Cell {
  make() {
    const gui = element("span", "tw-id");
    this.link = element("a", "tw-link", gui);
    this.link.tabIndex = -1;
    this.badges = element("span", "tw-badges", gui);
    return gui;
  }

  draw() {
    const { id, simulated, faults } = this.row;
    set(this.link, id);
    this.link.href = this.page.entityHref(this.row);
    const key = `${simulated}${faults?.length ?? 0}`;
    if (key === this.key) return;
    this.key = key;
    this.badges.textContent = "";
    if (simulated) set(element("span", "tw-badge badge-simulated", this.badges), "sim");
    if (faults?.length) {
      set(element("span", "tw-badge status-down", this.badges), `${faults.length} fault${faults.length > 1 ? "s" : ""}`);
    }
  }

  title() {
    const notes = [this.row.id];
    if (this.row.simulated) notes.push("simulated");
    if (this.row.faults?.length) notes.push(`faults: ${this.row.faults.join(", ")}`);
    return notes.join("\n");
  }
}

export class StatusCell extends TickingCell {
  make() {
    const gui = element("span", "tw-status");
    element("span", "tw-dot", gui);
    this.text = element("span", "", gui);
    this.stale = element("span", "tw-badge age-stale", gui);
    return gui;
  }

  draw() {
    set(this.text, this.row.status);
    this.tick();
  }

  tick() {
    const { status, observed_at_ms, interval_ms } = this.row;
    style(this.gui, `tw-status status-${status}`);
    const isStale = status !== "down" && freshness(this.age(observed_at_ms), interval_ms) === "stale";
    set(this.stale, isStale ? "stale" : "");
  }

  title() {
    const { status, status_reason, status_since_ms } = this.row;
    const since = status_since_ms ? ` since ${timeText(status_since_ms)} (${ageText(this.age(status_since_ms))})` : "";
    return `${status}${since}${status_reason ? `\n${status_reason}` : ""}`;
  }
}

/** The age of a moment that `column.moment(row)` gives; coloured when `column.isExpected`. */
export class AgeCell extends TickingCell {
  make() {
    return element("span", "tw-age");
  }

  draw() {
    this.tick();
  }

  tick() {
    const age = this.age(this.params.column.getColDef().context.moment(this.row));
    set(this.gui, age === null ? ABSENT : ageText(age));
    const isExpected = this.params.column.getColDef().context.isExpected;
    style(this.gui, `tw-age age-${(isExpected && freshness(age, this.row.interval_ms)) || "unknown"}`);
  }

  title() {
    const ms = this.params.column.getColDef().context.moment(this.row);
    if (typeof ms !== "number") return "it has no value yet";
    const interval = this.row.interval_ms;
    return `${timeText(ms)}${interval ? `\nexpected every ${interval / 1000} s` : ""}`;
  }
}

export class MetricCell extends TickingCell {
  make() {
    const gui = element("a", "tw-metric");
    gui.tabIndex = -1;
    this.mark = element("span", "tw-mark", gui);
    this.number = element("span", "", gui);
    this.unit = element("span", "tw-unit", gui);
    return gui;
  }

  get metric() {
    return this.params.column.getColDef().context.metric;
  }

  draw() {
    const { name, unit, form } = this.metric;
    const value = this.row.metrics[name];
    const [number, shownUnit] = parts(value, unit, form);
    set(this.number, value === undefined ? "" : number);
    set(this.unit, shownUnit);
    set(this.mark, MARKS[this.row.qualities?.[name]] ?? "");
    if (value === undefined) this.gui.removeAttribute("href");
    else this.gui.href = this.page.entityHref(this.row, name);
    this.tick();
  }

  tick() {
    const { name } = this.metric;
    const freshnessOf = freshness(this.age(this.row.times_ms?.[name]), this.row.interval_ms);
    style(this.gui, `tw-metric${freshnessOf === "stale" ? " is-stale" : ""}`);
  }

  title() {
    const { name, unit } = this.metric;
    const value = this.row.metrics[name];
    if (value === undefined) return `${name}: no source has it`;
    const observed = this.row.times_ms?.[name];
    const quality = this.row.qualities?.[name];
    const lines = [`${name} ${exactly(value, unit)}`];
    if (observed) lines.push(`observed ${timeText(observed)}, ${ageText(this.age(observed))} ago`);
    if (quality) lines.push(`its aligned value is ${MEANINGS[quality] ?? quality}`);
    lines.push("click: why this value");
    return lines.join("\n");
  }
}
