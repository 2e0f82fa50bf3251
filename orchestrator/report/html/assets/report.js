// Draws the charts of the page from the data in it. Colours come from the style sheet, so that they follow the scheme.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const DASHES = [[], [7, 4], [2, 3]];
  const HEIGHT = 230;
  const drawn = [];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const text = (value) => {
    if (value === null || value === undefined) return "-";
    const size = Math.abs(value);
    const digits = size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  };
  // 1, 2, 5, 10, 20, ...: ticks of a logarithmic axis
  const ticks = (low, high) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const digit of [1, 2, 5]) found.push(digit * 10 ** power);
    }
    return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  };
  const compact = (value) => value.toLocaleString("en-US", { notation: "compact", maximumSignificantDigits: 3 });
  // One run: a colour a line. Several: a colour a run. The dash tells the lines of one run apart in both.
  const colour = (series) => style(`--line-${(runs > 1 ? series.run : series.kind) % 6}`);
  const runs = 1 + Math.max(0, ...charts.flatMap((chart) => chart.series.map((series) => series.run)));

  function marks(chart) {
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = style("--mark");
      ctx.lineWidth = devicePixelRatio;
      ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
      for (const [value, label] of chart.marks) {
        const x = plot.valToPos(value, "x", true);
        if (!(x >= bbox.left && x <= bbox.left + bbox.width)) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
        ctx.textAlign = x > bbox.left + bbox.width / 2 ? "right" : "left";
        ctx.fillText(label, x + (ctx.textAlign === "right" ? -5 : 5) * devicePixelRatio, bbox.top + 14 * devicePixelRatio);
      }
      ctx.restore();
    };
  }

  function legend(chart, holder) {
    holder.replaceChildren();
    const where = document.createElement("span");
    where.className = "where";
    const values = chart.series.map((series) => {
      const item = document.createElement("span");
      const line = document.createElement("i");
      line.className = "line";
      line.style.borderTop = `3px ${series.kind % 3 === 0 ? "solid" : series.kind % 3 === 1 ? "dashed" : "dotted"} ${colour(series)}`;
      const value = document.createElement("b");
      item.append(line, series.label, " ", value);
      holder.append(item);
      return value;
    });
    holder.append(where);
    return { where, values };
  }

  function spoken(chart, index) {
    const values = chart.series.map((s) => `${s.label} ${text(s.values[index])} ${chart.y_label}`);
    return `${text(chart.x[index])} ${chart.x_label}: ${values.join(", ")}`;
  }

  function draw(chart) {
    const element = document.querySelector(`[data-chart="${chart.id}"]`);
    const keys = legend(chart, element.parentElement.querySelector(".legend"));
    element.replaceChildren();
    const axis = { stroke: style("--muted"), grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid"), width: 1 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18 };
    const options = {
      width: Math.max(200, element.clientWidth), height: HEIGHT, legend: { show: false }, padding: [10, 22, 0, 0],
      cursor: { y: false, points: { size: 7 }, drag: { x: false, y: false } },
      scales: { x: { time: false, distr: chart.log ? 3 : 1, range: [chart.x[0], chart.x.at(-1) > chart.x[0] ? chart.x.at(-1) : chart.x[0] + 1] }, y: { range: (_, low, high) => (chart.percent ? [0, 100] : [0, high > 0 ? high * 1.05 : 1]) } },
      axes: [
        { ...axis, label: chart.x_label, size: 36, values: (_, ticks) => ticks.map((v) => (v === null ? "" : compact(v))), ...(chart.log ? { splits: (_, axisIndex, low, high) => ticks(low, high), filter: (_, found) => found } : {}) },
        { ...axis, label: chart.y_label, size: 50, values: (_, ticks) => ticks.map((v) => (v === null ? "" : compact(v))) },
      ],
      series: [{}, ...chart.series.map((s) => ({ label: s.label, stroke: colour(s), width: 2, dash: DASHES[s.kind % 3], points: { show: chart.x.length < 3 }, spanGaps: false }))],
      hooks: {
        draw: [marks(chart)],
        setCursor: [(plot) => {
          const index = plot.cursor.idx;
          keys.values.forEach((value, i) => { value.textContent = index == null ? "" : text(chart.series[i].values[index]); });
          keys.where.textContent = index == null ? "" : `at ${text(chart.x[index])} ${chart.x_label}`;
          if (index != null) {
            element.setAttribute("aria-valuenow", index);
            element.setAttribute("aria-valuetext", spoken(chart, index));
          }
        }],
      },
    };
    const plot = new uPlot(options, [chart.x, ...chart.series.map((s) => s.values)], element);
    element.onkeydown = (event) => {
      const last = chart.x.length - 1;
      const now = plot.cursor.idx ?? -1;
      const far = Math.max(1, Math.round(last / 10));
      const next = { ArrowRight: now + 1, ArrowUp: now + 1, ArrowLeft: now - 1, ArrowDown: now - 1, PageUp: now + far, PageDown: now - far, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const index = Math.min(last, Math.max(0, next));
      plot.setCursor({ left: plot.valToPos(chart.x[index], "x"), top: 10 });
    };
    drawn.push({ chart, element, plot });
  }

  function redraw() {
    for (const { plot } of drawn) plot.destroy();
    drawn.length = 0;
    charts.forEach(draw);
  }

  redraw();
  let width = innerWidth;
  let timer;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(redraw, 100);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  matchMedia("print").addEventListener("change", redraw);
})();
