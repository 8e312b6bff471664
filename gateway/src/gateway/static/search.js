// The listbox below the field for a symbol; htmx fills it while one types.
"use strict";

const field = document.getElementById("symbol");
const list = document.getElementById("found");
let at = -1;

const options = () => [...list.querySelectorAll('[role="option"]')];

function show(isShown) {
  list.hidden = !isShown;
  field.setAttribute("aria-expanded", String(isShown));
  if (!isShown) mark(-1);
}

function mark(index) {
  const all = options();
  at = all.length && index >= 0 ? index % all.length : -1;
  all.forEach((option, number) => option.setAttribute("aria-selected", String(number === at)));
  if (at < 0) field.removeAttribute("aria-activedescendant");
  else {
    field.setAttribute("aria-activedescendant", all[at].id);
    all[at].scrollIntoView({ block: "nearest" });
  }
}

function choose(option) {
  field.value = option.dataset.symbol;
  show(false);
  field.form.requestSubmit();
}

field.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !list.hidden) show(false);
  else if (list.hidden || !options().length) return;
  else if (event.key === "ArrowDown") mark(at + 1);
  else if (event.key === "ArrowUp") mark(at < 0 ? options().length - 1 : at + options().length - 1);
  else if (event.key === "Enter" && at >= 0) choose(options()[at]);
  else return;
  event.preventDefault();
});
field.addEventListener("input", () => field.value.trim() || show(false));
field.addEventListener("blur", () => show(false));
// Before the field loses the focus, and with it the list.
list.addEventListener("mousedown", (event) => {
  const option = event.target.closest('[role="option"]');
  event.preventDefault();
  if (option) choose(option);
});
field.addEventListener("htmx:after:swap", () => {
  mark(-1);
  show(document.activeElement === field && field.value.trim() !== "" && list.childElementCount > 0);
});
