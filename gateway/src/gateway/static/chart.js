// Candles, volume and bands of the symbol page, drawn by Lightweight Charts.
"use strict";

(() => {
  const figure = document.getElementById("chart");
  if (!figure || !window.LightweightCharts) return;

  const labels = JSON.parse(figure.dataset.labels);
  const canvas = figure.querySelector(".canvas");
  const SPANS = [["month", 21], ["half", 126], ["year", 250], ["five", 1250], ["all", Infinity]];
  const AHEAD = 21;

  const dateOf = (day) => new Date(day * 86400000).toISOString().slice(0, 10);
  const bands = () => JSON.parse(document.getElementById("chart-bands").textContent);

  // A canvas knows no variables of a stylesheet, so an element is asked what they come to.
  function colours() {
    const probe = canvas.appendChild(document.createElement("i"));
    const named = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const names = ["bg", "text-light", "rule", "accent", "band", "up", "down"];
    const found = Object.fromEntries(names.map((name) => [name, named(name)]));
    probe.remove();
    return found;
  }

  // Draws the bands of past forecasts, and the fan of those that are ahead.
  class Bands {
    constructor(closes) {
      this.closes = closes;
      this.past = [];
      this.ahead = [];
      const renderer = { draw: (target) => target.useMediaCoordinateSpace((scope) => this.draw(scope.context)) };
      this.views = [{ zOrder: () => "bottom", renderer: () => renderer }];
    }

    attached({ chart, series, requestUpdate }) {
      Object.assign(this, { chart, series, requestUpdate });
    }

    paneViews() {
      return this.views;
    }

    // Bands are moves in percent from a close, so splits since then do them no harm.
    say({ past, ahead }) {
      const price = (each, key) => this.closes.get(each.asOf) * (1 + each[key] / 100);
      const known = (each) => this.closes.has(each.asOf);
      this.past = past.filter(known).map((each) => ({
        target: each.target,
        low: price(each, "low"),
        high: price(each, "high"),
        close: this.closes.get(each.target),
        held: each.held,
      }));
      this.ahead = ahead.filter(known).map((each) => ({
        asOf: each.asOf,
        target: each.target,
        start: this.closes.get(each.asOf),
        low: price(each, "low"),
        median: price(each, "median"),
        high: price(each, "high"),
      }));
      this.requestUpdate?.();
    }

    // Bands must be seen whole, also those that leave the range of the candles.
    autoscaleInfo(from, to) {
      const scale = this.chart.timeScale();
      const prices = [...this.past, ...this.ahead].flatMap((each) => {
        const place = scale.timeToIndex(each.target, true);
        return place !== null && place >= from && place <= to ? [each.low, each.high] : [];
      });
      if (!prices.length) return null;
      return { priceRange: { minValue: Math.min(...prices), maxValue: Math.max(...prices) } };
    }

    draw(context) {
      const scale = this.chart.timeScale();
      const x = (date) => scale.timeToCoordinate(date);
      const y = (price) => this.series.priceToCoordinate(price);
      const half = Math.max(1, 0.4 * scale.options().barSpacing);
      const colour = this.colour;
      for (const each of this.past) {
        const at = x(each.target);
        if (at === null) continue;
        const [top, bottom] = [y(each.high), y(each.low)];
        context.fillStyle = colour.band;
        context.globalAlpha = 0.45;
        context.fillRect(at - half, top, 2 * half, bottom - top);
        context.globalAlpha = 1;
        if (each.close === undefined || each.held === null || half < 2) continue;
        context.beginPath();
        context.arc(at, y(each.close), Math.min(half, 3), 0, 2 * Math.PI);
        context.strokeStyle = each.held ? colour.accent : colour.down;
        context.fillStyle = each.held ? colour.accent : colour.bg;
        context.lineWidth = 1.5;
        context.fill();
        context.stroke();
      }
      this.drawFan(context, x, y, colour);
    }

    drawFan(context, x, y, colour) {
      const points = this.ahead.filter((each) => x(each.target) !== null);
      if (!points.length || x(points[0].asOf) === null) return;
      const begin = [x(points[0].asOf), y(points[0].start)];
      const along = (key) => points.map((each) => [x(each.target), y(each[key])]);
      const trace = (path) => path.forEach(([a, b], k) => (k ? context.lineTo(a, b) : context.moveTo(a, b)));
      context.beginPath();
      trace([begin, ...along("high"), ...along("low").reverse()]);
      context.closePath();
      context.globalAlpha = 0.6;
      context.fillStyle = colour.band;
      context.fill();
      context.globalAlpha = 1;
      context.beginPath();
      trace([begin, ...along("median")]);
      context.setLineDash([4, 3]);
      context.lineWidth = 1.5;
      context.strokeStyle = colour.accent;
      context.stroke();
      context.setLineDash([]);
    }
  }

  function dress({ chart, candles, volume, drawn }) {
    const colour = colours();
    drawn.colour = colour;
    volume.applyOptions({ color: colour.rule });
    chart.applyOptions({
      layout: { background: { color: colour.bg }, textColor: colour["text-light"], attributionLogo: false },
      grid: { vertLines: { visible: false }, horzLines: { color: colour.rule } },
      rightPriceScale: { borderColor: colour.rule },
      timeScale: { borderColor: colour.rule },
    });
    // What rises is hollow and what falls is filled, for eyes that see no red.
    candles.applyOptions({
      upColor: colour.bg, borderUpColor: colour.up, wickUpColor: colour.up,
      downColor: colour.down, borderDownColor: colour.down, wickDownColor: colour.down,
    });
  }

  function build(history) {
    const dates = history.days.map(dateOf);
    const chart = LightweightCharts.createChart(canvas, {
      autoSize: true,
      layout: { attributionLogo: false, fontFamily: getComputedStyle(document.body).fontFamily },
      localization: { locale: document.documentElement.lang },
      handleScroll: { mouseWheel: false, vertTouchDrag: false },
      handleScale: { mouseWheel: false },
    });
    const minMove = 10 ** -history.decimals;
    const candles = chart.addSeries(LightweightCharts.CandlestickSeries, {
      priceFormat: { type: "price", precision: history.decimals, minMove },
      lastValueVisible: false, priceLineVisible: false,
    });
    const volume = chart.addSeries(LightweightCharts.HistogramSeries, {
      priceScaleId: "", priceFormat: { type: "volume" },
      lastValueVisible: false, priceLineVisible: false,
    });
    candles.priceScale().applyOptions({ scaleMargins: { top: 0.05, bottom: 0.22 } });
    volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    const drawn = new Bands(new Map(dates.map((date, k) => [date, history.closes[k]])));
    const said = bands();
    candles.setData([
      ...dates.map((time, k) => ({
        time, open: history.opens[k], high: history.highs[k], low: history.lows[k], close: history.closes[k],
      })),
      ...said.next.filter((time) => !dates.length || time > dates.at(-1)).map((time) => ({ time })),
    ]);
    volume.setData(dates.map((time, k) => ({ time, value: history.volumes[k] })));
    const parts = { chart, candles, volume, drawn, count: dates.length };
    dress(parts);
    candles.attachPrimitive(drawn);
    drawn.say(said);
    return parts;
  }

  let shown = null;
  let span = "half";

  function show(name) {
    span = name;
    const sessions = Object.fromEntries(SPANS)[name];
    const from = Math.max(-1, shown.count - sessions - 1);
    shown.chart.timeScale().setVisibleLogicalRange({ from, to: shown.count + AHEAD - 1 });
    for (const button of figure.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.span === name));
    }
  }

  async function load() {
    const response = await fetch(figure.dataset.history);
    if (!response.ok) throw new Error(`the history answered ${response.status}`);
    const history = await response.json();
    shown?.chart.remove();
    figure.hidden = false;
    shown = build(history);
    show(span);
  }

  function addButtons() {
    const group = figure.querySelector(".ranges");
    for (const [name] of SPANS) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.dataset.span = name;
      button.textContent = labels[name];
      button.addEventListener("click", () => show(name));
      group.append(button);
    }
  }

  const dressAnew = () => shown && dress(shown);

  addButtons();
  load().then(
    () => {
      const table = document.querySelector("details.bars");
      if (table) table.open = false;
    },
    () => {
      figure.hidden = false;
      canvas.textContent = labels.failed;
    },
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dressAnew);
  new MutationObserver(dressAnew).observe(document.documentElement, { attributes: true });
  // A session has closed: there is a bar more, under another address, and new bands.
  document.addEventListener("foretick:refreshed", ({ detail }) => {
    const fresh = detail.getElementById("chart");
    if (fresh && fresh.dataset.history !== figure.dataset.history) {
      figure.dataset.history = fresh.dataset.history;
      canvas.ariaLabel = fresh.querySelector(".canvas").ariaLabel;
      load();
    } else {
      shown?.drawn.say(bands());
    }
  });
})();
