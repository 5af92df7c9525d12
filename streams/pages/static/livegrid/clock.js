// What time it is for the rows: the server's, the world's, or that of the past moment that is looked at.

const SKEW_MS = 1_000; // below it the difference is the way of the message

export class Clock {
  constructor() {
    this.skewMs = 0;
    this.fixedMs = null;
    this.pausedMs = null;
  }

  /** The server's time, and that of a world with a clock of its own (else null) [ms since the epoch]. */
  set(nowMs, worldMs) {
    const skewMs = nowMs - Date.now();
    this.skewMs = Math.abs(skewMs) < SKEW_MS ? 0 : skewMs;
    this.fixedMs = worldMs;
  }

  /** The time of a world with a clock of its own, as far as its rows know [ms since the epoch]. */
  advance(ms) {
    this.fixedMs = Math.max(this.fixedMs ?? 0, ms);
  }

  /** Stand still at a moment; null: go on. */
  fix(ms) {
    this.fixedMs = ms;
  }

  /** Stand still while nothing is drawn. */
  pause(isPaused) {
    this.pausedMs = isPaused ? this.now() : null;
  }

  /** [ms since the epoch] */
  now() {
    return this.pausedMs ?? this.fixedMs ?? Date.now() + this.skewMs;
  }
}
