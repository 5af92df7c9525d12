// The view in the page's address: filter, kinds, columns with width and side, sort. A link shares all of it.

const SIDES = { left: "<", right: ">" };

/** What the address says; `cols` and `sort` are null when it leaves them to the page. */
export function readAddress(search) {
  const params = new URLSearchParams(search);
  return {
    where: params.get("where") ?? "",
    q: params.get("q") ?? "",
    kinds: (params.get("kind") ?? "").split(",").filter(Boolean),
    cols: params.get("cols") ? readColumns(params.get("cols")) : null,
    sort: params.get("sort") ? readSort(params.get("sort")) : null,
  };
}

const MAX_RATE = 5; // [1/s] Half of it would do for reading, but a change would be seen later

/** What is asked of the server for a view of a world. */
export function queryOf(world, { where, q, kinds }) {
  const params = new URLSearchParams({ world });
  for (const kind of kinds) params.append("kind", kind);
  if (where.trim()) params.set("where", where.trim());
  if (q.trim()) params.set("q", q.trim());
  return params;
}

/** The address of the rows of now. */
export function streamUrl(world, view) {
  const params = queryOf(world, view);
  params.set("format", "row");
  params.set("max_rate", MAX_RATE);
  return `/twin/v1/stream?${params}`;
}

/** Put a view into the address, beside what others keep there. */
export function writeAddress({ where, q, kinds, cols, sort }) {
  const params = new URLSearchParams(location.search);
  const own = {
    where,
    q,
    kind: kinds.join(","),
    cols: cols ? cols.map(columnText).join(",") : "",
    sort: sort ? sort.map(({ id, isDown }) => (isDown ? "-" : "") + encodeURIComponent(id)).join(",") : "",
  };
  for (const [name, value] of Object.entries(own)) {
    if (value) params.set(name, value);
    else params.delete(name);
  }
  const query = [...params]
    .map(([name, value]) => `${encodeURIComponent(name)}=${legible(encodeURIComponent(value))}`)
    .join("&");
  history.replaceState(history.state, "", query ? `${location.pathname}?${query}` : location.pathname);
}

// These may stand in a query as they are; a link is shorter with them, and can be read.
function legible(text) {
  return text.replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%20/g, "+").replace(/%3D/g, "=");
}

function columnText({ id, width, side }) {
  return encodeURIComponent(id) + (width ? `:${width}` : "") + (SIDES[side] ?? "");
}

function readColumns(text) {
  const found = new Map();
  for (const part of text.split(",")) {
    const [, id, width, side] = /^([^:<>]+)(?::(\d{1,4}))?([<>]?)$/.exec(part) ?? [];
    const name = id && decoded(id);
    if (!name) continue;
    found.set(name, {
      id: name,
      width: width ? Math.min(2_000, Math.max(40, Number(width))) : null,
      side: side === "<" ? "left" : side === ">" ? "right" : null,
    });
  }
  return found.size ? [...found.values()] : null;
}

function readSort(text) {
  const terms = text.split(",").map((part) => ({ id: decoded(part.replace(/^-/, "")), isDown: part.startsWith("-") }));
  return terms.filter(({ id }) => id);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
