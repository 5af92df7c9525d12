// AG Grid as the table needs it: look, options, and changes in batches.

import * as AgGrid from "nicegui-aggrid";
import { keyOf } from "./rows.js";

const BATCH_MS = 60;

AgGrid.ModuleRegistry.registerModules([AgGrid.AllCommunityModule]);

const theme = AgGrid.themeQuartz.withParams({
  backgroundColor: "var(--twin-panel)",
  foregroundColor: "var(--twin-ink)",
  borderColor: "var(--twin-line)",
  accentColor: "var(--twin-accent)",
  headerBackgroundColor: "var(--twin-grid-head)",
  headerTextColor: "var(--twin-muted)",
  oddRowBackgroundColor: "var(--twin-grid-odd)",
  rowHoverColor: "var(--twin-grid-hover)",
  selectedRowBackgroundColor: "var(--twin-grid-selected)",
  rowBorder: { color: "var(--twin-grid-rule)" },
  headerColumnBorder: false,
  columnBorder: false,
  wrapperBorder: true,
  wrapperBorderRadius: 8,
  fontFamily: "inherit",
  headerFontFamily: "inherit",
  fontSize: 13,
  headerFontSize: 12,
  headerFontWeight: 600,
  rowHeight: 29,
  headerHeight: 32,
  cellHorizontalPadding: 10,
  iconSize: 14,
});

/** A grid in an element; `on` has handlers of AG Grid's events. */
export function makeGrid(element, context, on) {
  return AgGrid.createGrid(element, {
    theme,
    context,
    columnDefs: [],
    rowData: [],
    getRowId: ({ data }) => keyOf(data),
    defaultColDef: { sortable: true, resizable: true, minWidth: 44, suppressHeaderMenuButton: true },
    maintainColumnOrder: false,
    deltaSort: true,
    asyncTransactionWaitMillis: BATCH_MS,
    animateRows: false,
    suppressColumnMoveAnimation: true,
    suppressNoRowsOverlay: true,
    suppressDragLeaveHidesColumns: true,
    suppressScrollOnNewData: true,
    alwaysMultiSort: false,
    multiSortKey: "ctrl",
    rowSelection: { mode: "multiRow", checkboxes: false, headerCheckbox: false, enableClickSelection: true },
    enableCellTextSelection: true,
    ensureDomOrder: true,
    tooltipShowDelay: 500,
    ...on,
  });
}

/** What `Rows` draws through. */
export class Drawing {
  constructor(api) {
    this.api = api;
  }

  replace(rows) {
    this.api.flushAsyncTransactions();
    this.api.setGridOption("rowData", rows);
  }

  change(change) {
    this.api.applyTransactionAsync(change);
  }
}
