// Shows the traces of requests to an admin, whose token is kept in memory only.
"use strict";

(() => {
  const main = document.querySelector("main");
  let token = "";

  async function show(address, push) {
    const response = await fetch(address, { headers: { Authorization: `Bearer ${token}` } });
    const type = response.headers.get("Content-Type") ?? "";
    if (!type.startsWith("text/html")) return failed(response);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    main.className = page.querySelector("main").className;
    main.replaceChildren(...page.querySelector("main").childNodes);
    document.title = page.title;
    if (push) history.pushState(null, "", address);
  }

  async function failed(response) {
    const form = document.getElementById("unlock");
    const denied = response.status === 401 || response.status === 403;
    const reason = denied && form ? form.dataset.denied : (await response.json().catch(() => ({}))).detail;
    const place = form ? form.querySelector("label") : main.appendChild(document.createElement("p"));
    place.textContent = reason ?? `${response.status}`;
  }

  main.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.id === "unlock") {
      token = document.getElementById("token").value.trim();
      show(location.href, false);
    } else {
      show(`${event.target.action}?${new URLSearchParams(new FormData(event.target))}`, true);
    }
  });
  main.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='/asyncapi/requests']");
    if (!link || !token || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link.href, true);
  });
  addEventListener("popstate", () => token && show(location.href, false));
})();
