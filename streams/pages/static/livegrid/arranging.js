// Which columns the table shows, where, how wide, and by which it is sorted.

import { DEFAULT_SORT } from "./columns.js";

export const arranging = {
  methods: {
    shownColumns() {
      return this.cols ?? this.columns.usual();
    },
    drawColumns() {
      const shown = this.shownColumns();
      this.shownIds = Object.fromEntries(shown.map(({ id, side }) => [id, side ?? ""]));
      this.isDrawing = true;
      this.api.setGridOption("columnDefs", this.columns.definitions(shown, this.sort));
      this.isDrawing = false;
    },
    choose(cols) {
      this.cols = cols.length ? cols : null;
      this.drawColumns();
      this.keep();
    },
    arranged() {
      if (this.isDrawing) return;
      this.cols = this.api.getColumnState().map(({ colId, width, pinned }) => ({
        id: colId,
        width: width === this.columns.column(colId).width ? null : Math.round(width),
        side: pinned || null,
      }));
      this.shownIds = Object.fromEntries(this.cols.map(({ id, side }) => [id, side ?? ""]));
      this.keep();
    },
    sorted() {
      if (this.isDrawing) return;
      const state = this.api.getColumnState().filter(({ sort }) => sort);
      state.sort((a, b) => a.sortIndex - b.sortIndex);
      this.sort = state.map(({ colId, sort }) => ({ id: colId, isDown: sort === "desc" }));
      this.keep();
    },
    columnGroups() {
      const plain = ({ id, label, doc }) => ({ id, label, doc });
      return this.columns.groups().map(({ title, columns }) => ({ title, columns: columns.map(plain) }));
    },
    isNamed({ id, label }) {
      const wanted = (this.columnSearch ?? "").toLowerCase();
      return id.toLowerCase().includes(wanted) || label.toLowerCase().includes(wanted);
    },
    isShown(id) {
      return id in this.shownIds;
    },
    sideOf(id) {
      return this.shownIds[id] || null;
    },
    sideMark(id) {
      return this.sideOf(id) ?? "pin";
    },
    nextSide(id) {
      return { left: "right", right: null }[this.sideOf(id)] ?? (this.sideOf(id) ? null : "left");
    },
    toggleColumn(id) {
      const shown = this.shownColumns();
      this.choose(this.isShown(id) ? shown.filter((col) => col.id !== id) : [...shown, { id, width: null, side: null }]);
    },
    pin(id, side) {
      this.choose(this.shownColumns().map((col) => (col.id === id ? { ...col, side } : col)));
    },
    fit(id) {
      this.api.autoSizeColumns([id]);
    },
    usualColumns() {
      this.sort = DEFAULT_SORT;
      this.choose([]);
    },
    headOpened(event) {
      const head = event.target.closest(".ag-header-cell");
      if (!head) return;
      event.preventDefault();
      this.headColumn = head.getAttribute("col-id");
      this.headTarget = head;
      this.$nextTick(() => this.$refs.headMenu.show());
    },
  },
};
