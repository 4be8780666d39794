/* Draws the equity curve, and says so when the page or its strip no longer hears from the desk. */
(() => {
  "use strict";
  const STALE_AFTER_MS = 15000;
  let heardAt = Date.now();
  let stripHeardAt = Date.now();
  let chart = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const read = () => {
    const element = document.getElementById("desk-equity");
    return element === null ? null : JSON.parse(element.textContent);
  };

  const draw = () => {
    const canvas = document.getElementById("desk-chart");
    const data = read();
    if (canvas === null || data === null) return;
    const line = colour("--desk-line");
    const quiet = colour("--desk-quiet");
    if (chart === null) {
      chart = new Chart(canvas, {
        type: "line",
        data: { labels: [], datasets: [] },
        options: {
          animation: false,
          maintainAspectRatio: false,
          responsive: true,
          interaction: { intersect: false, mode: "index" },
          plugins: { legend: { display: false } },
          scales: {
            x: { ticks: { maxTicksLimit: 7, maxRotation: 0 }, grid: { display: false } },
            y: { ticks: { maxTicksLimit: 5 } },
          },
        },
      });
    }
    const { x, y } = chart.options.scales;
    x.ticks.color = y.ticks.color = quiet;
    y.grid = { color: line };
    chart.data.labels = data.labels;
    chart.data.datasets = data.series.map((series, index) => ({
      label: series.name,
      data: series.values,
      borderColor: colour("--color-primary-500"),
      borderDash: index === 0 ? [] : [4, 3],
      borderWidth: 2,
      pointRadius: 0,
      tension: 0,
    }));
    chart.update("none");
  };

  const check = () => {
    const page = document.getElementById("desk-page");
    if (page !== null) page.classList.toggle("desk-is-stale", Date.now() - heardAt > STALE_AFTER_MS);
  };

  /* Said aloud only when the words change: not at every look. */
  const say = () => {
    const words = document.getElementById("desk-strip-words");
    const said = document.getElementById("desk-strip-said");
    if (words === null || said === null) return;
    const text = words.textContent;
    if (said.textContent !== text) said.textContent = text;
  };

  const checkStrip = () => {
    const frame = document.getElementById("desk-strip-frame");
    if (frame !== null) frame.classList.toggle("desk-strip-lost", Date.now() - stripHeardAt > STALE_AFTER_MS);
  };

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "desk-strip") {
      stripHeardAt = Date.now();
      checkStrip();
      say();
    }
    if (event.target.id !== "desk-live") return;
    heardAt = Date.now();
    check();
    draw();
  });
  document.addEventListener("DOMContentLoaded", () => {
    draw();
    say();
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["class"] });
    setInterval(check, 1000);
    setInterval(checkStrip, 1000);
  });
})();
