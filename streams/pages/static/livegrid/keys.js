// Keys of the page; none of them works while somebody types.

const FIELDS = "input, textarea, select, [contenteditable=true]";

/** Listen until the function that is given back is called. */
export function keys(page) {
  const does = {
    "/": () => page.$refs.search.focus(),
    f: () => page.$refs.filter.focus(),
    g: () => page.toGrid(),
    p: () => !page.moment && page.togglePause(),
    "?": () => (page.isHelp = !page.isHelp),
  };
  const pressed = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(FIELDS)) return;
    if (!does[event.key]) return;
    event.preventDefault();
    does[event.key]();
  };
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}
