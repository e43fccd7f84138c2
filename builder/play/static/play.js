// Sends the form and replaces the parts of the page that are marked data-live. Without this file
// the same buttons load the whole page.
"use strict";

const form = document.getElementById("play");
const trouble = document.getElementById("trouble");
const KEPT = "form";
let running = null;

// The history goes with the reader from tab to tab, and is there after a reload.
function keep() {
  const fields = new FormData(form);
  fields.delete("q");
  sessionStorage.setItem(KEPT, new URLSearchParams(fields).toString());
}

function replaceLive(text, spared) {
  const next = new DOMParser().parseFromString(text, "text/html");
  const focused = document.activeElement?.id;
  const scrolled = document.getElementById("events")?.scrollTop;
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = next.getElementById(part.id);
    if (fresh && !(spared && part.contains(spared))) part.replaceWith(fresh);
  }
  document.getElementById("events")?.scrollTo(0, scrolled ?? 0);
  if (focused && document.activeElement?.id !== focused) {
    document.getElementById(focused)?.focus({ preventScroll: true });
  }
  return next;
}

async function load(address, options, spared) {
  running?.abort();
  running = new AbortController();
  try {
    const answer = await fetch(address, { ...options, signal: running.signal });
    const text = await answer.text();
    const next = replaceLive(text, spared);
    const problem = answer.ok ? "" : next.querySelector(".problem")?.textContent || text;
    trouble.textContent = problem;
    trouble.hidden = !problem;
    return answer.ok ? next : null;
  } catch (error) {
    if (error.name !== "AbortError") {
      trouble.textContent = "This page's server does not answer; start `python -m builder play` again.";
      trouble.hidden = false;
    }
    return null;
  }
}

async function send(fields, spared) {
  form.setAttribute("aria-busy", "true");
  const next = await load(form.action, { method: "POST", body: new URLSearchParams(fields) }, spared);
  if (next) {
    if (!spared) document.getElementById("user").value = next.getElementById("user").value;
    keep();
  }
  form.removeAttribute("aria-busy");
  return next;
}

function searchAsTyped() {
  const field = document.getElementById("q");
  let waiting = 0;
  let asked = 0;
  field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const number = ++asked;
      const answer = await fetch("/search?" + new URLSearchParams({ q: field.value }));
      if (answer.ok && number === asked) {
        document.getElementById("found").innerHTML = await answer.text();
      }
    }, 150);
  });
}

async function restore() {
  const kept = sessionStorage.getItem(KEPT);
  if (!kept || location.search) return keep();
  const fields = new URLSearchParams(kept);
  const next = await send(fields);
  if (!next) return sessionStorage.removeItem(KEPT);
  for (const field of form.querySelectorAll(".options [name], #new, #user")) {
    const fresh = next.getElementById(field.id);
    if (!fresh) continue;
    if (field.type === "checkbox") field.checked = fresh.checked;
    else field.value = fresh.value;
  }
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(new FormData(form, event.submitter));
  });
  form.addEventListener("change", (event) => {
    if (event.target.id === "q") return;
    // A field that is being written in stays as it is.
    send(new FormData(form), event.target);
  });
  searchAsTyped();
  restore();
}

for (const part of document.querySelectorAll("[data-every]")) {
  setInterval(() => {
    if (!document.hidden) load(location.href);
  }, Number(part.dataset.every));
}
