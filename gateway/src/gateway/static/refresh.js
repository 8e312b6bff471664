// Puts what has changed into a page that is looked at, part by part, without a reload.
"use strict";

(() => {
  const EVERY = 5000;
  let last = "";
  const isUsed = (part) => part.contains(document.activeElement);

  // Tells whether all of it could be put in.
  function put(page) {
    let [changed, whole] = [false, true];
    for (const fresh of page.querySelectorAll("[data-live]")) {
      const part = document.getElementById(fresh.id);
      if (!part || part.innerHTML === fresh.innerHTML) continue;
      // Nothing is pulled away from under a keyboard.
      if (isUsed(part)) {
        whole = false;
        continue;
      }
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      part.innerHTML = fresh.innerHTML;
      part.querySelectorAll("details").forEach((each, k) => {
        if (open[k] !== undefined) each.open = open[k];
      });
      changed = true;
    }
    if (changed) document.dispatchEvent(new CustomEvent("foretick:refreshed", { detail: page }));
    return whole;
  }

  async function refresh() {
    if (document.hidden) return;
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    // Signed out, or a service is away: the page stays as it is, and is asked for again.
    if (!response.ok) return;
    const text = await response.text();
    if (text !== last && put(new DOMParser().parseFromString(text, "text/html"))) last = text;
  }

  const again = () => refresh().catch(() => undefined).finally(() => setTimeout(again, EVERY));
  setTimeout(again, EVERY);
})();
