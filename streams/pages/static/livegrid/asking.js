// What the table asks the server for: the stream of now, or the rows of a past moment, with filter and kinds.

import { queryOf, streamUrl, writeAddress } from "./address.js";
import { DEFAULT_SORT } from "./columns.js";
import { readProblem } from "./feed.js";
import { timeText } from "./formats.js";

const NO_PROBLEM = { whereProblem: "", qProblem: "", problem: "" };

export const asking = {
  methods: {
    ask() {
      Object.assign(this, NO_PROBLEM);
      if (this.moment) {
        this.feed.close();
        this.askPast();
      } else {
        this.clock.fix(null);
        this.feed.open(streamUrl(this.world, this));
      }
    },
    async askPast() {
      const params = queryOf(this.world, this);
      params.set("at", this.moment);
      const url = `/twin/v1/rows?${params}`;
      if (this.asking) {
        this.askAgain = true; // the newest of the moments that came meanwhile is asked for next
        return;
      }
      this.asking = true;
      const answer = await fetch(url).catch(() => null);
      const problem = answer && !answer.ok ? await readProblem(answer) : null;
      const found = answer?.ok ? await answer.json().catch(() => null) : null;
      this.asking = false;
      if (this.askAgain || !this.moment) {
        this.askAgain = false;
        if (this.moment) this.askPast();
        if (!found) return;
      }
      if (!this.moment) return;
      if (!found) {
        this.refused(problem ?? { detail: "the server does not answer" });
        this.stated("refused", "not shown");
        return;
      }
      this.clock.fix(found.stamp.clock_ms ?? Date.now());
      this.rows.begin(true);
      this.came(() => this.rows.put(found.rows));
      this.whole();
      this.stated("past", `as of ${timeText(found.stamp.clock_ms)}`);
    },
    look_at(at) {
      if (this.isPaused) this.togglePause();
      this.moment = at;
      this.ask();
    },
    typed(afterMs) {
      this.q ??= "";
      this.where ??= "";
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.changed(), afterMs);
    },
    changed() {
      this.keep();
      this.ask();
    },
    keep() {
      const isUsual = JSON.stringify(this.sort) === JSON.stringify(DEFAULT_SORT);
      writeAddress({ where: this.where.trim(), q: this.q.trim(), kinds: this.kinds, cols: this.cols, sort: isUsual ? null : this.sort });
    },
    toggleKind(kind) {
      this.kinds = this.kinds.includes(kind) ? this.kinds.filter((other) => other !== kind) : [...this.kinds, kind];
      this.changed();
    },
    toggleStatus(status) {
      const rest = this.where.replace(/(^|\s)status!?=\S+/g, "").trim();
      const isOn = new RegExp(`(^|\\s)status=${status}(\\s|$)`).test(this.where);
      this.where = isOn ? rest : `${rest} status=${status}`.trim();
      this.changed();
    },
    set_counts(counts) {
      this.counts = counts;
      this.total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
  },
};
