// The stream of rows: opened, watched, opened again; another filter replaces it once its rows come.

import { EVENTS, openStream } from "./early.js";

const SILENCE_MS = 16_000; // three heartbeats
const RETRY_MS = 2_000;
const CROWDED_MS = 30_000;

/**
 * Handlers: `snapshot(isAsked)`, `rows(rows)`, `gone(keys)`, `live()`, `heartbeat(data)`, `state(name, text)`
 * with the names connecting, live, lost, refused; `refused(problem)`.
 */
export class Feed {
  constructor(handlers) {
    this.handlers = handlers;
    this.source = null;
    this.next = null;
    this.url = "";
    this.taken = ""; // the address of the rows that are shown
    this.retry = null;
    this.held = null; // what came and is not taken yet
    this.watch = setInterval(() => this.look(), 2_000);
  }

  /** Ask for other rows; those of before go on until the new ones come. */
  open(url) {
    this.url = url;
    clearTimeout(this.retry);
    this.next?.close();
    this.next = null;
    this.connect();
  }

  /** Stop; `open` starts again. */
  close() {
    clearTimeout(this.retry);
    clearTimeout(this.holding);
    this.held = null;
    this.source?.close();
    this.next?.close();
    this.source = this.next = null;
    this.taken = "";
  }

  destroy() {
    this.close();
    clearInterval(this.watch);
  }

  connect() {
    const { source, came } = openStream(this.url);
    this.next = source;
    this.heardMs = Date.now();
    if (!this.source) this.handlers.state("connecting", "");
    const { rows, gone, heartbeat } = this.handlers;
    const handle = {
      snapshot: () => this.handlers.snapshot(this.take(source)),
      live: () => {
        this.take(source);
        this.handlers.state("live", "");
        this.handlers.live();
      },
      end: (data) => this.ended(source, data),
      ...{ rows, gone, heartbeat },
    };
    const heard = (event) => {
      this.heardMs = Date.now();
      const take = () => {
        if (source === this.source || source === this.next) handle[event.type](JSON.parse(event.data));
      };
      if (this.held) this.held.push(take);
      else take();
    };
    came.forEach(heard);
    for (const name of EVENTS) source.addEventListener(name, heard);
    source.onerror = () => this.failed(source);
  }

  /** Keep what comes until `release`, or for so long [ms]: what is there already can be drawn meanwhile. */
  hold(ms) {
    this.held ??= [];
    this.holding = setTimeout(() => this.release(), ms);
  }

  /** Take what was kept, and let the screen be drawn in between. */
  release() {
    clearTimeout(this.holding);
    this.held?.shift()?.();
    if (this.held?.length) this.holding = setTimeout(() => this.release(), 0);
    else this.held = null;
  }

  /** Whether these are the first rows of what was asked for, and not those of before once more. */
  take(source) {
    if (source !== this.next) return false;
    this.source?.close();
    this.source = source;
    this.next = null;
    const isAsked = this.taken !== this.url;
    this.taken = this.url;
    return isAsked;
  }

  ended(source, { reason, detail }) {
    if (reason === "slow" || reason === "shutdown") {
      this.handlers.state("lost", detail); // the browser connects again by itself, and goes on where it was
      return;
    }
    source.close();
    this.forget(source);
    if (reason === "too-many") {
      this.again(CROWDED_MS, detail);
    } else {
      this.handlers.refused({ status: 410, detail });
      this.handlers.state("refused", detail);
    }
  }

  failed(source) {
    if (source !== this.source && source !== this.next) return;
    if (source.readyState === EventSource.CONNECTING) {
      this.handlers.state("lost", "the connection is lost; trying again");
    } else {
      this.forget(source);
      this.explain(this.url);
    }
  }

  forget(source) {
    if (source === this.next) this.next = null;
    if (source === this.source) this.source = null;
  }

  again(afterMs, text) {
    this.handlers.state("lost", text);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.connect(), afterMs);
  }

  /** An EventSource does not tell why it was refused: ask once more, in a way that does. */
  async explain(url) {
    const answer = await problemOf(url);
    if (url !== this.url) return;
    if (answer === null) {
      this.again(RETRY_MS, "the server does not answer; trying again");
    } else if (answer.status < 400) {
      this.again(RETRY_MS, "trying again");
    } else if (answer.status === 429 || answer.status >= 500) {
      this.again(answer.retryMs || RETRY_MS, answer.detail);
    } else {
      if (!this.source) this.handlers.state("refused", "nothing is shown");
      this.handlers.refused(answer);
    }
  }

  look() {
    const source = this.next ?? this.source;
    if (!source || Date.now() - this.heardMs < SILENCE_MS) return;
    source.close();
    this.forget(source);
    this.again(0, "the server is silent; trying again");
  }
}

/** {status, detail, field} of an answer; null when there is none. */
async function problemOf(url) {
  const stop = new AbortController();
  try {
    const answer = await fetch(url, { signal: stop.signal, headers: { Accept: "text/event-stream" } });
    return answer.ok ? { status: answer.status } : await readProblem(answer);
  } catch {
    return null;
  } finally {
    stop.abort();
  }
}

/** The problem document of an answer that is none of the wanted. */
export async function readProblem(answer) {
  const document = await answer.json().catch(() => ({}));
  return {
    status: answer.status,
    field: document.field,
    detail: document.detail ?? `the server answered with ${answer.status}`,
    retryMs: 1000 * Number(answer.headers.get("Retry-After") ?? 0),
  };
}
