// Shows search results while the user types; without this script, the form opens the search page.
"use strict";

(() => {
  const field = document.getElementById("query");
  const form = field.form;
  const list = document.createElement("ul");
  const LIMIT = 12;
  let entries = null;
  let at = -1;

  list.id = "query-results";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Search results");
  list.hidden = true;
  form.append(list);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", list.id);
  field.setAttribute("aria-expanded", "false");

  async function load() {
    if (entries !== null) return;
    entries = [];
    try {
      const answer = await fetch(field.dataset.index);
      if (!answer.ok) throw new Error(String(answer.status));
      entries = (await answer.json()).map(([kind, name, text, href]) => ({ kind, name, text, href }));
      show();
    } catch {
      entries = null; // the form still works
    }
  }

  // The same order as in search.py.
  function score(entry, words, phrase) {
    const name = entry.name.toLowerCase();
    const rest = `${entry.name} ${entry.kind} ${entry.text}`.toLowerCase();
    if (!words.every((word) => rest.includes(word))) return 9;
    if (name === phrase) return 0;
    if (name.startsWith(phrase)) return 1;
    return words.every((word) => name.includes(word)) ? 2 : 3;
  }

  function results() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length === 0 || entries === null) return [];
    const phrase = words.join(" ");
    return entries
      .map((entry, place) => ({ entry, place, score: score(entry, words, phrase) }))
      .filter((one) => one.score < 9)
      .sort((one, other) => one.score - other.score || one.place - other.place)
      .slice(0, LIMIT)
      .map((one) => one.entry);
  }

  function option(entry, place) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    const kind = document.createElement("span");
    const text = document.createElement("span");
    item.id = `query-results-${place}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    link.href = entry.href;
    link.tabIndex = -1;
    kind.className = `kind ${entry.kind}`;
    kind.textContent = entry.kind;
    text.className = "faded";
    text.textContent = entry.text;
    link.append(kind, ` ${entry.name} `, text);
    item.append(link);
    return item;
  }

  function close() {
    list.hidden = true;
    at = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function show() {
    const shown = results();
    close();
    list.replaceChildren(...shown.map(option));
    if (shown.length === 0 || document.activeElement !== field) return;
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
  }

  function choose(next) {
    const items = [...list.children];
    if (list.hidden || items.length === 0) return;
    at = (next + items.length) % items.length;
    items.forEach((item, place) => item.setAttribute("aria-selected", String(place === at)));
    items[at].scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", items[at].id);
  }

  field.addEventListener("focus", load);
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (list.hidden) show();
      choose(event.key === "ArrowDown" ? at + 1 : Math.max(at, 0) - 1);
      event.preventDefault();
    } else if (event.key === "Enter" && at >= 0) {
      event.preventDefault();
      list.children[at].firstElementChild.click();
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault(); // the first Escape closes the list, the second one empties the field
      close();
    }
  });
  form.addEventListener("focusout", (event) => {
    if (!form.contains(event.relatedTarget)) close();
  });
  list.addEventListener("mousedown", (event) => event.preventDefault()); // keeps the focus, so the list stays open for the click
  list.addEventListener("click", close);

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
})();
