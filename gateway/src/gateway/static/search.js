// The listbox below the field for a symbol, which htmx fills while one types; and menus that close.
"use strict";
(() => {
  // Looked up each time, since the page's content may have been read anew.
  const field = () => document.getElementById("symbol");
  const list = () => document.getElementById("found");
  const options = () => [...list().querySelectorAll('[role="option"]')];
  const marked = () => options().findIndex((option) => option.ariaSelected === "true");

  function show(isShown) {
    list().hidden = !isShown;
    field().setAttribute("aria-expanded", String(isShown));
    if (!isShown) mark(-1);
  }

  function mark(at) {
    options().forEach((option, number) => (option.ariaSelected = String(number === at)));
    const option = options()[at];
    if (!option) return field().removeAttribute("aria-activedescendant");
    field().setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  function choose(option) {
    field().value = option.dataset.symbol;
    show(false);
    field().form.requestSubmit();
  }

  function pressed(event) {
    const all = options();
    const at = marked();
    if (list().hidden || !all.length) return;
    if (event.key === "Escape") show(false);
    else if (event.key === "ArrowDown") mark((at + 1) % all.length);
    else if (event.key === "ArrowUp") mark((Math.max(at, 0) + all.length - 1) % all.length);
    else if (event.key === "Enter" && at >= 0) choose(all[at]);
    else return;
    event.preventDefault();
  }

  const ofField = (act) => (event) => event.target === field() && act(event);
  document.addEventListener("keydown", ofField(pressed));
  document.addEventListener("focusout", ofField(() => show(false)));
  document.addEventListener("input", ofField(() => field().value.trim() || show(false)));
  document.addEventListener("htmx:after:swap", ofField(() => {
    const isWanted = document.activeElement === field() && field().value.trim() !== "";
    mark(-1);
    show(isWanted && list().childElementCount > 0);
  }));
  // Before the field loses the focus, and the list with it.
  document.addEventListener("mousedown", (event) => {
    if (!list()?.contains(event.target)) return;
    event.preventDefault();
    const option = event.target.closest('[role="option"]');
    if (option) choose(option);
  });

  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(except)) menu.open = false;
    }
  }
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(null));
})();
