// Puts what has changed into a page that is looked at, part by part, without a reload.
"use strict";

(() => {
  const EVERY = 5000;
  const isOpen = (part) => part.contains(document.activeElement);

  function put(page) {
    let changed = false;
    for (const fresh of page.querySelectorAll("[data-live]")) {
      const part = document.getElementById(fresh.id);
      // Nothing is pulled away from under a keyboard.
      if (!part || part.innerHTML === fresh.innerHTML || isOpen(part)) continue;
      const open = [...part.querySelectorAll("details")].map((each) => each.open);
      part.innerHTML = fresh.innerHTML;
      part.querySelectorAll("details").forEach((each, k) => {
        if (open[k] !== undefined) each.open = open[k];
      });
      changed = true;
    }
    if (changed) document.dispatchEvent(new CustomEvent("foretick:refreshed", { detail: page }));
  }

  async function refresh() {
    if (document.hidden) return;
    const response = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
    // Signed out, or a service is away: the page stays as it is, and is asked for again.
    if (!response.ok) return;
    put(new DOMParser().parseFromString(await response.text(), "text/html"));
  }

  const again = () => refresh().catch(() => undefined).finally(() => setTimeout(again, EVERY));
  setTimeout(again, EVERY);
})();
