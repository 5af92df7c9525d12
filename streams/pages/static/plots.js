// What the charts need in the browser: numbers with units, and a crosshair that all charts of a page share.
(() => {
  const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

  function number(value) {
    if (value === null || value === undefined || !Number.isFinite(Number(value))) return "–";
    value = Number(value);
    const size = Math.abs(value);
    const digits = Number.isInteger(value) ? 0 : size >= 1000 ? 0 : size >= 1 ? 4 - String(Math.trunc(size)).length : 3;
    return value.toLocaleString("en-US", { maximumFractionDigits: digits });
  }

  window.twinValue = (value, unit) => {
    if (Array.isArray(value)) value = value[1];
    if (value === null || value === undefined) return "–";
    if (unit === "B" || unit === "B/s") {
      let place = 0;
      while (Math.abs(value) >= 1024 && place < binary.length - 1) {
        value /= 1024;
        place += 1;
      }
      return `${number(Math.round(value * 100) / 100)} ${binary[place]}${unit.slice(1)}`;
    }
    return unit === "1" || unit === "" ? number(value) : `${number(value)} ${unit}`;
  };

  window.twinPlots = async (ids, brush) => {
    const { echarts } = await import("nicegui-echart");
    for (let attempt = 0; attempt < 100; attempt++) {
      const charts = ids.map((id) => getElement(id)?.chart);
      if (charts.every(Boolean)) {
        for (const chart of charts) {
          chart.group = "twin";
          chart.dispatchAction(brush);
          chart.on("brushEnd", () => chart.dispatchAction({ type: "brush", areas: [] }));
        }
        echarts.connect("twin");
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
})();
