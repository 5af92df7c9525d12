// The table of all entities: what is typed, chosen and seen stays in the browser; rows come by the stream.

import { readAddress } from "twin-livegrid/address.js";
import { arranging } from "twin-livegrid/arranging.js";
import { asking } from "twin-livegrid/asking.js";
import { ticking } from "twin-livegrid/cells.js";
import { Clock } from "twin-livegrid/clock.js";
import { Columns, DEFAULT_SORT } from "twin-livegrid/columns.js";
import { fileOf, save } from "twin-livegrid/exports.js";
import { Feed } from "twin-livegrid/feed.js";
import { fixed, timeText } from "twin-livegrid/formats.js";
import { Drawing, makeGrid } from "twin-livegrid/grid.js";
import { keys } from "twin-livegrid/keys.js";
import { Rows } from "twin-livegrid/rows.js";
import { help, marks, template } from "twin-livegrid/template.js";

const TICK_MS = 1_000;
const FIRST_MS = 400; // at most: a page that nobody sees draws nothing
const ORDER = ["up", "degraded", "down", "unknown"];

export default {
  template,
  mixins: [asking, arranging],
  props: { world: String, at: String, hasClock: Boolean, metrics: Array, defaults: Array, kindNames: Array },

  data() {
    const { where, q, kinds } = readAddress(location.search);
    return {
      ...{ where, q, kinds, whereProblem: "", qProblem: "", problem: "" },
      ...{ counts: {}, total: 0, shownCount: 0, statuses: {}, selectedCount: 0, waitingCount: 0 },
      ...{ stream: { name: "connecting", text: "connecting …" }, fault: "", isPaused: false, isLoaded: false },
      ...{ moment: this.at ?? null, isHelp: false, groups: [], columnSearch: "", shownIds: {} },
      ...{ headTarget: false, headColumn: "", help, marks },
    };
  },

  computed: {
    shownKinds() {
      return [...new Set([...this.kindNames, ...Object.keys(this.counts), ...this.kinds])].filter(
        (kind) => this.counts[kind] || this.kinds.includes(kind),
      );
    },
    statusCounts() {
      const names = [...new Set([...ORDER, ...Object.keys(this.statuses)])];
      return names.map((name) => [name, this.statuses[name]]).filter(([, count]) => count);
    },
    emptyText() {
      if (this.shownCount) return "";
      if (this.problem) return this.problem;
      if (!this.isLoaded) return this.stream.name === "lost" ? this.stream.text : "";
      if (this.where || this.q || this.kinds.length) return "No entity matches. Change the filter, or clear it.";
      if (this.moment) return "There was no entity at this moment.";
      return "There is no entity yet. Sources bring them: `twin collect` reads those of TWIN_CONFIG, `twin up --demo` makes some up.";
    },
    emptyIcon() {
      return this.problem ? "error_outline" : "inbox";
    },
  },

  created() {
    const { cols, sort } = readAddress(location.search);
    this.clock = new Clock();
    this.columns = new Columns(this.metrics, this.defaults);
    this.cols = cols;
    this.sort = sort ?? DEFAULT_SORT;
  },

  mounted() {
    const { clock, entityHref } = this;
    this.api = makeGrid(this.$refs.grid, { clock, entityHref }, {
      onFirstDataRendered: () => requestAnimationFrame(() => this.firstDrawn()),
      onAsyncTransactionsFlushed: ({ results }) => this.tell(results),
      onSortChanged: () => this.sorted(),
      onColumnMoved: ({ finished, source }) => finished && source === "uiColumnMoved" && this.arranged(),
      onColumnResized: ({ finished, source }) => finished && source !== "api" && this.arranged(),
      onColumnPinned: ({ source }) => source !== "api" && this.arranged(),
      onSelectionChanged: () => (this.selectedCount = this.api.getSelectedNodes().length),
      onCellKeyDown: ({ event, column, data }) => event.key === "Enter" && this.opened(event, column, data),
    });
    this.rows = new Rows(new Drawing(this.api), (rows) => this.learned(rows));
    if (this.cols) this.drawColumns();
    this.feed = new Feed({
      snapshot: (isAsked) => this.rows.begin(isAsked),
      rows: (rows) => {
        if (!this.rows.shown.size) this.feed.hold(FIRST_MS);
        this.came(() => this.rows.put(rows));
      },
      gone: (gone) => this.came(() => this.rows.drop(gone)),
      live: () => this.whole(),
      heartbeat: (beat) => this.beaten(beat),
      state: (name, text) => this.stated(name, text),
      refused: (problem) => this.refused(problem),
    });
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.stopKeys = keys(this);
    this.$refs.grid.addEventListener("contextmenu", this.headOpened);
    window.twinTable = this; // for measurements and tests
    this.ask();
  },

  unmounted() {
    clearInterval(this.ticker);
    clearTimeout(this.typing);
    this.stopKeys();
    this.feed.destroy();
    this.api.destroy();
  },

  methods: {
    grouped: (count) => fixed(count, 0),

    came(put) {
      put();
      this.recount();
    },
    recount() {
      this.shownCount = this.rows.shown.size;
      this.statuses = { ...this.rows.statuses };
      this.waitingCount = this.rows.waitingCount;
      if (this.isPaused && !this.moment) this.describe();
    },
    whole() {
      this.isLoaded = true;
      this.problem = "";
      if (!this.rows.shown.size) this.drawColumns();
      this.rows.whole();
      this.recount();
    },
    learned(rows) {
      if (this.hasClock && !this.moment) for (const { seen_ms } of rows) this.clock.advance(seen_ms);
      if (this.columns.learn(rows) && !this.cols) this.drawColumns();
    },
    beaten({ now_ms, clock_ms, fault }) {
      this.clock.set(now_ms, this.hasClock ? clock_ms : null);
      this.fault = fault ?? "";
      this.describe();
    },
    stated(name, text) {
      this.state = { name, text };
      this.describe();
    },
    refused({ field, detail, status }) {
      const place = { where: "whereProblem", q: "qProblem" }[field] ?? "problem";
      this[place] = detail;
      if (status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    },
    describe() {
      const { name, text } = this.state;
      const waiting = `paused at ${timeText(this.clock.now()).slice(11)}: ${fixed(this.waitingCount, 0)} rows have changed since`;
      const texts = { connecting: "connecting …", live: "live", lost: `reconnecting: ${text}` };
      if (name === "live" && this.fault) this.stream = { name: "lost", text: this.fault };
      else if (this.isPaused && name === "live") this.stream = { name: "paused", text: waiting };
      else this.stream = { name, text: texts[name] ?? text };
    },
    firstDrawn() {
      performance.mark("twin-first-rows");
      setTimeout(() => this.feed.release(), 0);
    },
    // For measurements: these changes are on the screen now.
    tell(detail) {
      requestAnimationFrame(() => document.dispatchEvent(new CustomEvent("twin-applied", { detail })));
    },
    tick() {
      if (!this.isPaused && !document.hidden) for (const cell of ticking) cell.tick();
    },
    togglePause() {
      this.isPaused = !this.isPaused;
      this.clock.pause(this.isPaused);
      if (this.isPaused) this.rows.pause();
      else this.rows.resume();
      this.recount();
      this.describe();
    },

    entityHref({ kind, id }, metric) {
      const params = new URLSearchParams();
      if (metric) params.set("metric", metric);
      if (this.world !== "live") params.set("world", this.world);
      if (this.moment) params.set("at", this.moment);
      const query = params.size ? `?${params}` : "";
      return `/entity/${encodeURIComponent(kind)}/${encodeURIComponent(id)}${query}`;
    },
    opened(event, column, row) {
      const metric = column.getColDef().context?.metric?.name;
      const href = this.entityHref(row, metric && row.metrics[metric] !== undefined ? metric : undefined);
      if (event.ctrlKey || event.metaKey) window.open(href);
      else location.assign(href);
    },
    exportAs(format) {
      const rows = [];
      this.api.forEachNodeAfterFilterAndSort(({ data }) => rows.push(data));
      const columns = this.api.getAllDisplayedColumns().map((column) => this.columns.column(column.getColId()));
      const at = timeText(this.clock.now());
      save(fileOf(format, columns, rows, { world: this.world, at, where: this.where, q: this.q, kinds: this.kinds }));
    },
    async copyLink() {
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      if (copied) Quasar.Notify.create({ message: "The link to this view is copied", timeout: 1_500 });
      else window.prompt("The link to this view", location.href);
    },
    leave(event) {
      event.target.blur();
      this.toGrid();
    },
    toGrid() {
      const place = this.api.getFocusedCell();
      const column = place?.column ?? this.api.getAllDisplayedColumns()[0];
      if (column) this.api.setFocusedCell(place?.rowIndex ?? this.api.getFirstDisplayedRowIndex(), column);
    },
  },
};
