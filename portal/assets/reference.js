// Fetches the AsyncAPI document of the page and renders it with AsyncAPI's component.
"use strict";

(async () => {
  const place = document.getElementById("reference");

  // Does what AsyncAPI's parser does to a valid document: replaces each reference by its target (the same object for
  // the same target) and stores the key of named parts in them.
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
    const response = await fetch(place.dataset.document);
    if (!response.ok) throw new Error(`${place.dataset.document} returned ${response.status}`);
    const schema = parsed(await response.json());
    // Messages have their own pages; rendering them here takes seconds for the whole system.
    const whole = "whole" in place.dataset;
    const config = {
      show: { sidebar: true, errors: true, messages: false, schemas: !whole },
      sidebar: { useChannelAddressAsIdentifier: true },
      expand: { messageExamples: !whole },
    };
    window.AsyncApiStandalone.render({ schema, config }, place);
  } catch (error) {
    place.textContent = `The reference cannot be rendered: ${error.message}.`;
    throw error;
  }
})();
