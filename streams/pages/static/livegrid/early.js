// Asks for the rows as soon as all scripts are there: the server works while the page is being built. Not before:
// the scripts would come behind megabytes of rows.

import { readAddress, streamUrl } from "./address.js";

export const EVENTS = ["snapshot", "rows", "gone", "live", "heartbeat", "end"];

let early = null;

const params = new URLSearchParams(location.search);
if (!params.get("at")) {
  const url = streamUrl(params.get("world") || "live", readAddress(location.search));
  const source = new EventSource(url);
  early = { url, source, came: [] };
  const { came } = early;
  for (const name of EVENTS) source.addEventListener(name, (event) => early?.came === came && came.push(event));
}

/** The stream of an address and what came by it already; a new one unless that was asked for early. */
export function openStream(url) {
  const taken = early;
  early = null;
  if (taken?.url === url && taken.source.readyState !== EventSource.CLOSED) return taken;
  taken?.source.close();
  return { source: new EventSource(url), came: [] };
}
