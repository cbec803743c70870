// Live figures on the map and in tables below it, polled from the gateway.
"use strict";

(() => {
  const INTERVAL = 2000; // milliseconds
  const section = document.getElementById("live");
  const heading = section.querySelector("h2");
  const figures = new Intl.NumberFormat("en");
  let token = "";
  let previous = null;

  function make(name, text = "", attributes = {}) {
    const element = document.createElement(name);
    element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }

  function rate(now, past, seconds) {
    return past === undefined || seconds <= 0 ? "" : `${figures.format(Math.round(((now - past) / seconds) * 10) / 10)}/s`;
  }

  // The token is kept in memory only.
  function requestToken(denied) {
    if (section.querySelector("form")) return;
    const form = make("form");
    const label = make("label", denied ? "This token does not belong to an admin. Try another one: " : "Access token of an admin: ");
    label.append(make("input", "", { type: "password", autocomplete: "off", required: "" }));
    form.append(label, make("button", "Show"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      token = form.querySelector("input").value.trim();
      form.remove();
      poll();
    });
    section.append(form);
    section.hidden = false;
  }

  async function poll() {
    if (document.hidden) return void setTimeout(poll, INTERVAL);
    let response;
    try {
      response = await fetch("/asyncapi/live.json", token ? { headers: { Authorization: `Bearer ${token}` } } : {});
    } catch {
      return void retry("The gateway does not respond.");
    }
    if (response.status === 404) return;
    if (response.status === 401 || response.status === 403) return requestToken(token !== "");
    if (!response.ok) return void retry((await response.json().catch(() => ({}))).detail ?? `${response.status}`);
    show(await response.json());
    setTimeout(poll, INTERVAL);
  }

  function retry(reason) {
    heading.textContent = `Live figures are not available. ${reason}`;
    setTimeout(poll, INTERVAL);
  }

  function show(snapshot) {
    const seconds = previous ? (Date.parse(snapshot.at) - Date.parse(previous.at)) / 1000 : 0;
    const streams = new Map(previous?.streams.map((stream) => [stream.name, stream]));
    const processes = new Map(previous?.processes.map((process) => [process.id, process]));
    heading.textContent = "Live figures";
    showOnMap(snapshot, seconds, streams, processes);
    const streamRows = snapshot.streams.map((stream) => [
      make("a", stream.name, { href: `/asyncapi/streams/${stream.name}` }),
      figures.format(stream.messages),
      rate(stream.last_sequence, streams.get(stream.name)?.last_sequence, seconds),
      stream.consumers.map((one) => `${one.name}: ${figures.format(one.pending)} pending, ${one.unacknowledged} unacknowledged`).join("; "),
    ]);
    const processRows = snapshot.processes.map((one) => [
      make("a", one.service, { href: `/asyncapi/${one.service}` }),
      one.id.slice(0, 8),
      rate(one.requests, processes.get(one.id)?.requests, seconds),
      `${figures.format(one.requests)} requests, ${figures.format(one.errors)} errors, ${one.milliseconds} ms mean`,
    ]);
    const last = snapshot.streams
      .flatMap((stream) => stream.last)
      .sort((one, other) => other.at.localeCompare(one.at))
      .slice(0, 12)
      .map((one) => [one.at.slice(11, 23), one.subject, make("code", JSON.stringify(one.body))]);
    section.querySelector(".tables").replaceChildren(
      table("Streams", ["stream", "messages", "per second", "consumers"], streamRows),
      table("Processes", ["service", "process", "per second", "since start"], processRows),
      table("Last messages, newest first", ["time (UTC)", "subject", "body"], last),
    );
    section.hidden = false;
    previous = snapshot;
  }

  function showOnMap(snapshot, seconds, streams, processes) {
    for (const stream of snapshot.streams) {
      const note = document.querySelector(`.map .box[data-stream="${stream.name}"] .head .note`);
      if (note) note.textContent = [`${figures.format(stream.messages)} messages`, rate(stream.last_sequence, streams.get(stream.name)?.last_sequence, seconds)].filter(Boolean).join(" · ");
      note?.closest(".box").classList.toggle("pending", stream.consumers.some((one) => one.pending > 0) || (stream.name === "DEAD_LETTERS" && stream.messages > 0));
    }
    for (const note of document.querySelectorAll(".map .node[data-service] .note")) {
      const mine = snapshot.processes.filter((one) => one.service === note.closest(".node").dataset.service);
      const requests = mine.reduce((sum, one) => sum + one.requests, 0);
      const past = mine.reduce((sum, one) => sum + (processes.get(one.id)?.requests ?? one.requests), 0);
      note.textContent = mine.length === 0 ? "not running" : [`${mine.length} ${mine.length === 1 ? "process" : "processes"}`, rate(requests, previous ? past : undefined, seconds)].filter(Boolean).join(" · ");
      note.closest(".node").classList.toggle("down", mine.length === 0);
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

  if (section.dataset.for === "admins") requestToken(false);
  else poll();
})();
