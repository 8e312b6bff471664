// Keeps an open watchlist up to date; live.py says what is sent.
"use strict";
(() => {
  const SCALE_ENDS = [0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200, 500, 1000];
  const FLASH_MS = 1500;
  const LOST_AFTER_MS = 3000;
  const FIRST_PAUSE_MS = 1000;
  const LONGEST_PAUSE_MS = 60000;
  const BUSY_MS = 2000;

  const root = document.documentElement;
  const element = (id) => document.getElementById(id);
  const status = element("live");
  if (!status || !status.dataset.since || !window.EventSource) return;

  let source;
  let pause = FIRST_PAUSE_MS;
  let lostTimer;
  let marketAt = Date.now();

  // A screen reader is told of a change once.
  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function connected() {
    clearTimeout(lostTimer);
    lostTimer = undefined;
    pause = FIRST_PAUSE_MS;
    if (root.dataset.live === "lost") say(status.dataset.back);
    root.dataset.live = "on";
  }

  function interrupted() {
    lostTimer ??= setTimeout(() => {
      root.dataset.live = "lost";
      say(status.dataset.lost);
    }, LOST_AFTER_MS);
    // The browser tries again by itself, unless it was refused.
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  function parsed(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  }

  // A cell as it was sent, without what is added here.
  function asSent(cell) {
    const copy = cell.cloneNode(true);
    for (const age of copy.querySelectorAll(".age")) age.remove();
    copy.classList.remove("changed");
    return copy.outerHTML;
  }

  function replaceCells(text) {
    const [symbol, ...cells] = text.split("\n");
    const row = element(`row-${symbol}`);
    if (!row) return;
    for (const line of cells) {
      const space = line.indexOf(" ");
      const old = row.children[Number(line.slice(0, space))];
      const fresh = parsed(line.slice(space + 1));
      if (!old || !fresh || asSent(old) === fresh.outerHTML) continue;
      old.replaceWith(fresh);
      fresh.classList.add("changed");
      setTimeout(() => fresh.classList.remove("changed"), FLASH_MS);
    }
    rescale();
    age();
  }

  // A band that outgrows the scale stretches it for the whole list.
  function rescale() {
    const table = element("watchlist");
    const bars = table.querySelectorAll("[data-reach]");
    const widest = Math.max(0, ...Array.from(bars, (bar) => Number(bar.dataset.reach)));
    const end = SCALE_ENDS.find((each) => each >= widest) ?? SCALE_ENDS.at(-1);
    if (end <= Number(table.dataset.scale)) return;
    table.dataset.scale = String(end);
    for (const low of table.querySelectorAll(".low")) low.textContent = `\u2212${end}`;
    for (const high of table.querySelectorAll(".high")) high.textContent = `+${end}`;
  }

  // What time it is on the market, in milliseconds; NaN where nobody knows.
  function marketNow() {
    const clock = element("market-time");
    if (!clock) return NaN;
    return Date.parse(clock.dateTime) + Number(clock.dataset.pace) * (Date.now() - marketAt);
  }

  function written(seconds) {
    const units = [["second", 1, 90], ["minute", 60, 90], ["hour", 3600, 36], ["day", 86400, Infinity]];
    const [unit, length] = units.find(([, length, most]) => seconds < length * most);
    const style = { style: "unit", unit, unitDisplay: "short" };
    return new Intl.NumberFormat(root.lang, style).format(Math.round(seconds / length));
  }

  // How old each price is, beside the instant that it is of.
  function age() {
    const now = marketNow();
    for (const time of document.querySelectorAll("time.as-of")) {
      const seconds = (now - Date.parse(time.dateTime)) / 1000;
      let shown = time.nextElementSibling;
      if (!shown?.classList.contains("age")) {
        shown = document.createElement("span");
        shown.className = "age";
        shown.setAttribute("aria-hidden", "true");
        time.after(shown);
      }
      const text = seconds >= 0 ? ` (${written(seconds)})` : "";
      if (shown.textContent !== text) shown.textContent = text;
    }
  }

  function showMarket(html) {
    element("market").innerHTML = html;
    marketAt = Date.now();
    age();
  }

  function showNotices(text) {
    const cut = text.indexOf("\n");
    const old = text.slice(0, cut).split(" ");
    const html = text.slice(cut + 1);
    const notices = element("notices");
    if (notices.innerHTML !== html) notices.innerHTML = html;
    for (const kind of ["prices", "forecasts"]) {
      element("watchlist")?.classList.toggle(`without-${kind}`, old.includes(kind));
    }
  }

  // What the lists are, whatever is said of their symbols.
  function lists(page) {
    const parts = page.querySelectorAll("#content .lists, #content [data-symbol], #content .row-note p");
    return Array.from(parts, (part) => part.dataset.symbol ?? part.textContent).join("\n");
  }

  // The list is another one now: the page's content is read anew, once nobody is typing in it.
  async function reload() {
    const isUsed = () => element("content").contains(document.activeElement);
    if (isUsed()) return setTimeout(reload, BUSY_MS);
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    // Somebody may have begun meanwhile.
    if (isUsed()) return setTimeout(reload, BUSY_MS);
    // It was changed here.
    if (lists(page) === lists(document)) return;
    status.dataset.since = page.getElementById("live").dataset.since;
    page.getElementById("live").replaceWith(status);
    element("content").replaceChildren(...page.getElementById("content").childNodes);
    window.htmx?.process(element("content"));
    source.close();
    connect();
    age();
  }

  function connect() {
    const asked = new URLSearchParams(location.search);
    asked.set("since", status.dataset.since);
    source = new EventSource(`/events?${asked}`);
    source.onopen = connected;
    source.onerror = interrupted;
    source.addEventListener("row", (event) => {
      status.dataset.since = event.lastEventId;
      replaceCells(event.data);
    });
    source.addEventListener("market", (event) => showMarket(event.data));
    source.addEventListener("notices", (event) => showNotices(event.data));
    source.addEventListener("list", () => reload().catch(interrupted));
  }

  connect();
  age();
  setInterval(age, 1000);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
})();
