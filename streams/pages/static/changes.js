// Cells of the table of changes; text only ever becomes text, never markup.
(() => {
  const statuses = ["up", "degraded", "down", "unknown"];
  const words = { removed: "removed", added: "added", status: "status", attribute: "attribute", metric: "value" };

  function span(text, name) {
    const element = document.createElement("span");
    element.textContent = text;
    if (name) element.className = name;
    return element;
  }

  function isSort(sort) {
    return (params) => params.data.sort === sort;
  }

  window.twinChanges = {
    sort: (params) => span(words[params.value], `twin-badge chg-${params.value}`),
    entity: (params) => {
      const link = document.createElement("a");
      const world = params.context.world;
      link.href = params.data.path + (world ? `?world=${encodeURIComponent(world)}` : "");
      link.textContent = params.value;
      link.className = "twin-link-plain";
      return link;
    },
    side: (params) => {
      const isStatus = params.data.sort === "status" || params.data.name === "entity";
      return span(params.value, isStatus && statuses.includes(params.value) ? `status-${params.value} chg-status` : "");
    },
    share: (params) => {
      if (params.value === null || params.value === undefined) return "";
      const size = Math.abs(params.value);
      const text = size.toLocaleString("en-US", { maximumFractionDigits: size < 10 ? 1 : 0 });
      return `${params.value > 0 ? "+" : "−"}${text} %`;
    },
    classes: Object.fromEntries(Object.keys(words).map((sort) => [`chg-row-${sort}`, isSort(sort)])),
  };
})();
