// Fetches the page's AsyncAPI document and draws it.
"use strict";

(async () => {
  const place = document.getElementById("reference");

  // What AsyncAPI's parser does to a valid document: each reference gives way to what it refers to, and what is known
  // by its key carries that key. An object that is referred to twice stays one object.
  function parsed(source) {
    const done = new Map();

    function target(reference) {
      const keys = reference.slice(2).split("/").map((key) => decodeURIComponent(key).replace(/~1/g, "/").replace(/~0/g, "~"));
      return keys.reduce((at, key) => at[key], source);
    }

    function resolved(value) {
      if (value === null || typeof value !== "object") return value;
      if (typeof value.$ref === "string" && value.$ref.startsWith("#/")) return resolved(target(value.$ref));
      if (!done.has(value)) {
        const copy = Array.isArray(value) ? [] : {};
        done.set(value, copy);
        for (const [key, part] of Object.entries(value)) copy[key] = resolved(part);
      }
      return done.get(value);
    }

    function keyed(parts, field) {
      for (const [key, part] of Object.entries(parts ?? {})) part[field] ??= key;
    }

    const whole = resolved(source);
    const components = whole.components ?? {};
    keyed(whole.channels, "x-parser-unique-object-id");
    keyed(whole.operations, "x-parser-unique-object-id");
    for (const channel of Object.values(whole.channels ?? {})) {
      keyed(channel.messages, "x-parser-unique-object-id");
      keyed(channel.messages, "x-parser-message-name");
    }
    keyed(components.messages, "x-parser-unique-object-id");
    keyed(components.messages, "x-parser-message-name");
    keyed(components.schemas, "x-parser-schema-id");
    return { ...whole, "x-parser-spec-parsed": true, "x-parser-api-version": 3 };
  }

  try {
    const answer = await fetch(place.dataset.document);
    if (!answer.ok) throw new Error(`${place.dataset.document} answered ${answer.status}`);
    const schema = parsed(await answer.json());
    // What has pages of its own is not drawn again; of the whole system that would take seconds.
    const whole = "whole" in place.dataset;
    const config = {
      show: { sidebar: true, errors: true, messages: false, schemas: !whole },
      sidebar: { useChannelAddressAsIdentifier: true },
      expand: { messageExamples: !whole },
    };
    window.AsyncApiStandalone.render({ schema, config }, place);
  } catch (error) {
    place.textContent = `The reference cannot be drawn: ${error.message}.`;
    throw error;
  }
})();
