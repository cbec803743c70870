// What goes on now, on the map and in a list below it, where the gateway tells: it answers 404 where nobody wants it.
"use strict";

(() => {
  const EVERY = 2000;
  const section = document.getElementById("live");
  const heading = section.querySelector("h2");
  const figures = new Intl.NumberFormat("en");
  let token = "";
  let before = null;

  function make(name, text = "", attributes = {}) {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function rate(now, past, seconds) {
    return past === undefined || seconds <= 0 ? "" : `${figures.format(Math.round(((now - past) / seconds) * 10) / 10)}/s`;
  }

  // Who is asked: a page has no token of its own, and keeps none.
  function ask(denied) {
    if (section.querySelector("form")) return;
    const form = make("form");
    const label = make("label", denied ? "This token is no admin's. Another one: " : "An admin's access token: ");
    label.append(make("input", "", { type: "password", autocomplete: "off", required: "" }));
    form.append(label, make("button", "Look"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      token = form.querySelector("input").value.trim();
      form.remove();
      look();
    });
    section.append(form);
    section.hidden = false;
  }

  async function look() {
    if (document.hidden) return void setTimeout(look, EVERY);
    let answer;
    try {
      answer = await fetch("/asyncapi/live.json", token ? { headers: { Authorization: `Bearer ${token}` } } : {});
    } catch {
      return void later("The gateway does not answer.");
    }
    if (answer.status === 404) return;
    if (answer.status === 401 || answer.status === 403) return ask(token !== "");
    if (!answer.ok) return void later((await answer.json().catch(() => ({}))).detail ?? `${answer.status}`);
    show(await answer.json());
    setTimeout(look, EVERY);
  }

  function later(reason) {
    heading.textContent = `What goes on now: nothing can be seen. ${reason}`;
    setTimeout(look, EVERY);
  }

  function show(seen) {
    const seconds = before ? (Date.parse(seen.at) - Date.parse(before.at)) / 1000 : 0;
    const streams = new Map(before?.streams.map((stream) => [stream.name, stream]));
    const processes = new Map(before?.processes.map((process) => [process.id, process]));
    heading.textContent = "What goes on now";
    onTheMap(seen, seconds, streams, processes);
    const streamRows = seen.streams.map((stream) => [
      make("a", stream.name, { href: `/asyncapi/streams/${stream.name}` }),
      figures.format(stream.messages),
      rate(stream.last_sequence, streams.get(stream.name)?.last_sequence, seconds),
      stream.consumers.map((one) => `${one.name}: ${figures.format(one.waiting)} waiting, ${one.unacknowledged} at work`).join("; "),
    ]);
    const processRows = seen.processes.map((one) => [
      make("a", one.service, { href: `/asyncapi/${one.service}` }),
      one.id.slice(0, 8),
      rate(one.requests, processes.get(one.id)?.requests, seconds),
      `${figures.format(one.requests)} asked, ${figures.format(one.errors)} refused, ${one.milliseconds} ms`,
    ]);
    const last = seen.streams
      .flatMap((stream) => stream.last)
      .sort((one, other) => other.at.localeCompare(one.at))
      .slice(0, 12)
      .map((one) => [one.at.slice(11, 23), one.subject, make("code", JSON.stringify(one.body))]);
    section.querySelector(".tables").replaceChildren(
      table("Streams", ["stream", "kept", "per second", "consumers"], streamRows),
      table("Processes", ["service", "process", "per second", "since it began"], processRows),
      table("Last messages, newest first", ["time (UTC)", "subject", "body"], last),
    );
    section.hidden = false;
    before = seen;
  }

  function onTheMap(seen, seconds, streams, processes) {
    for (const stream of seen.streams) {
      const note = document.querySelector(`.map .box[data-stream="${stream.name}"] .head .note`);
      if (note) note.textContent = [`${figures.format(stream.messages)} kept`, rate(stream.last_sequence, streams.get(stream.name)?.last_sequence, seconds)].filter(Boolean).join(" · ");
      note?.closest(".box").classList.toggle("waiting", stream.consumers.some((one) => one.waiting > 0) || (stream.name === "DEAD_LETTERS" && stream.messages > 0));
    }
    for (const note of document.querySelectorAll(".map .node[data-service] .note")) {
      const mine = seen.processes.filter((one) => one.service === note.closest(".node").dataset.service);
      const asked = mine.reduce((sum, one) => sum + one.requests, 0);
      const past = mine.reduce((sum, one) => sum + (processes.get(one.id)?.requests ?? one.requests), 0);
      note.textContent = mine.length === 0 ? "not there" : [`${mine.length} ${mine.length === 1 ? "process" : "processes"}`, rate(asked, before ? past : undefined, seconds)].filter(Boolean).join(" · ");
      note.closest(".node").classList.toggle("away", mine.length === 0);
    }
  }

  function table(title, heads, rows) {
    const part = make("div");
    const drawn = make("table", "", { "aria-label": title });
    const head = make("tr");
    head.append(...heads.map((text) => make("th", text, { scope: "col" })));
    const body = make("tbody");
    for (const cells of rows) {
      const row = make("tr");
      row.append(...cells.map((cell, at) => {
        const place = make("td", "", { "data-label": heads[at] });
        place.append(cell);
        return place;
      }));
      body.append(row);
    }
    drawn.append(make("thead"), body);
    drawn.tHead.append(head);
    part.append(make("h3", title), drawn);
    return part;
  }

  if (section.dataset.for === "admins") ask(false);
  else look();
})();
