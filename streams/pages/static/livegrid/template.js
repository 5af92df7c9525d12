// The table page: fields and buttons above, the grid, a line of counts below.

const SEARCH = `
  <q-input v-model="q" ref="search" dense outlined clearable class="tw-search" placeholder="Find: id, pool, status …"
    aria-label="Find" :error="!!qProblem" :error-message="qProblem" hide-bottom-space no-error-icon
    @update:model-value="typed(250)" @keydown.esc="leave" @keydown.enter="typed(0)">
    <template #prepend><q-icon name="search" size="18px" /></template>
  </q-input>
  <q-input v-model="where" ref="filter" dense outlined clearable class="tw-filter" aria-label="Filter"
    placeholder="Filter: kind=node status!=up cpu_usage_percent>80" :error="!!whereProblem" :error-message="whereProblem"
    hide-bottom-space no-error-icon spellcheck="false" autocomplete="off"
    @update:model-value="typed(400)" @keydown.esc="leave" @keydown.enter="typed(0)">
    <template #prepend><q-icon name="filter_alt" size="18px" /></template>
  </q-input>`;

const KINDS = `
  <div class="tw-kinds" role="group" aria-label="Kinds">
    <button v-for="kind in shownKinds" :key="kind" type="button" class="tw-chip" :class="{ chosen: kinds.includes(kind) }"
      :aria-pressed="kinds.includes(kind)" @click="toggleKind(kind)">{{ kind }}<span v-if="counts[kind]">{{ grouped(counts[kind]) }}</span></button>
  </div>`;

const COLUMNS = `
  <q-btn flat dense no-caps icon="view_column" label="Columns" class="tw-button">
    <q-menu class="tw-menu" @before-show="groups = columnGroups()" @show="$refs.columnSearch.focus()">
      <q-input v-model="columnSearch" ref="columnSearch" dense borderless placeholder="Find a column" class="tw-menu-search" />
      <div class="tw-menu-list">
        <template v-for="group in groups" :key="group.title">
          <div v-if="group.columns.some(isNamed)" class="tw-menu-title">{{ group.title }}</div>
          <div v-for="column in group.columns.filter(isNamed)" :key="column.id" class="tw-menu-row">
            <q-checkbox dense size="sm" :model-value="isShown(column.id)" @update:model-value="toggleColumn(column.id)"
              :label="column.label" :title="column.doc" />
            <button v-if="isShown(column.id)" type="button" class="tw-pin" :title="'Pinned: ' + (sideOf(column.id) ?? 'no')"
              :aria-label="'Pin ' + column.label" @click="pin(column.id, nextSide(column.id))">{{ sideMark(column.id) }}</button>
          </div>
        </template>
      </div>
      <q-btn flat dense no-caps class="tw-menu-foot" label="The usual columns" @click="usualColumns" />
    </q-menu>
  </q-btn>
  <q-menu ref="headMenu" class="tw-menu" :target="headTarget" no-parent-event @hide="headTarget = false">
    <q-list dense v-if="headColumn">
      <q-item clickable v-close-popup @click="pin(headColumn, 'left')"><q-item-section>Pin left</q-item-section></q-item>
      <q-item clickable v-close-popup @click="pin(headColumn, 'right')"><q-item-section>Pin right</q-item-section></q-item>
      <q-item clickable v-close-popup @click="pin(headColumn, null)"><q-item-section>Do not pin</q-item-section></q-item>
      <q-item clickable v-close-popup @click="fit(headColumn)"><q-item-section>Fit width</q-item-section></q-item>
      <q-item clickable v-close-popup @click="toggleColumn(headColumn)"><q-item-section>Hide</q-item-section></q-item>
    </q-list>
  </q-menu>`;

const BUTTONS = `
  <q-btn flat dense no-caps icon="download" label="Export" class="tw-button">
    <q-menu class="tw-menu"><q-list dense>
      <q-item clickable v-close-popup @click="exportAs('csv')"><q-item-section>CSV</q-item-section></q-item>
      <q-item clickable v-close-popup @click="exportAs('excel')"><q-item-section>CSV for Excel</q-item-section></q-item>
      <q-item clickable v-close-popup @click="exportAs('json')"><q-item-section>JSON</q-item-section></q-item>
    </q-list></q-menu>
  </q-btn>
  <q-btn flat dense no-caps icon="link" label="Copy link" class="tw-button" @click="copyLink" />
  <q-btn flat dense no-caps :icon="isPaused ? 'play_arrow' : 'pause'" :label="isPaused ? 'Resume' : 'Pause'"
    class="tw-button tw-pause" :class="{ chosen: isPaused }" :disable="!!moment" @click="togglePause" />
  <q-btn flat dense round icon="keyboard" class="tw-button" aria-label="Keys" @click="isHelp = true" />
  <q-dialog v-model="isHelp"><div class="twin-panel tw-help">
    <h2>Keys</h2>
    <dl><template v-for="[keys, does] in help"><dt><kbd v-for="key in keys">{{ key }}</kbd></dt><dd>{{ does }}</dd></template></dl>
    <h2>Marks</h2>
    <dl><template v-for="[mark, style, means] in marks"><dt><span :class="style">{{ mark }}</span></dt><dd>{{ means }}</dd></template></dl>
  </div></q-dialog>`;

const COUNTS = `
  <div class="tw-counts">
    <span class="tw-total">{{ grouped(shownCount) }}<template v-if="total"> of {{ grouped(total) }}</template> {{ total === 1 ? "entity" : "entities" }}</span>
    <button v-for="[status, count] in statusCounts" :key="status" type="button" class="tw-count" :class="'status-' + status"
      :title="'Show only those that are ' + status" @click="toggleStatus(status)"><span class="tw-dot"></span>{{ grouped(count) }} {{ status }}</button>
    <span v-if="selectedCount" class="tw-selected">{{ grouped(selectedCount) }} selected</span>
    <span class="tw-gap"></span>
    <span class="tw-stream" :class="'stream-' + stream.name" role="status"><span class="tw-dot"></span>{{ stream.text }}</span>
  </div>`;

export const template = `
  <div class="tw-table">
    <div class="tw-bar">${SEARCH}<div class="tw-buttons">${COLUMNS}${BUTTONS}</div></div>
    ${KINDS}
    <div class="tw-body">
      <div ref="grid" class="tw-grid"></div>
      <div v-if="emptyText" class="tw-empty"><q-icon :name="emptyIcon" size="34px" /><p>{{ emptyText }}</p></div>
    </div>
    ${COUNTS}
  </div>`;

export const help = [
  [["/"], "find"],
  [["f"], "filter"],
  [["Esc"], "leave a field"],
  [["g"], "go to the table"],
  [["↑", "↓", "←", "→"], "move in the table"],
  [["Enter"], "open the entity; on a metric, why it has this value"],
  [["p"], "pause, resume"],
  [["?"], "this help"],
];

export const marks = [
  ["≈", "tw-mark", "the aligned value is interpolated"],
  ["‖", "tw-mark", "the aligned value is held since its last sample"],
  ["4 s", "age-fresh", "as fresh as expected: at most two intervals old"],
  ["14 s", "age-late", "late: at most five intervals old"],
  ["1 min", "age-stale", "stale: older than that"],
  ["sim", "tw-badge badge-simulated", "simulated"],
];
