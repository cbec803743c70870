// Renders the OpenAPI document of the page with Swagger UI, in the color scheme of the system.
"use strict";

const place = document.getElementById("http-api");
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function applyScheme() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

applyScheme();
dark.addEventListener("change", applyScheme);
window.SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: false,
  validatorUrl: null, // by default, it loads a badge from another host
});
