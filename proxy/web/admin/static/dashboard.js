// Keeps the page current, and sends what its buttons ask for.
"use strict";

const PLOTS_EVERY_MS = 60000;
const PATIENCE_MS = 10000;

const live = document.getElementById("live");
const lost = document.getElementById("lost");
const answer = document.getElementById("answer");
const token = document.getElementById("token");
const sure = document.getElementById("sure");
const everyMs = 1000 * live.dataset.every;
const isDark = matchMedia("(prefers-color-scheme: dark)");

// Bringing the page up to date

let lastAt = new Date();
let timer;

async function update() {
  clearTimeout(timer);
  if (!document.hidden) await look();
  clearTimeout(timer);
  if (everyMs) timer = setTimeout(update, everyMs);
}

async function look() {
  try {
    const reply = await ask(live.dataset.from + location.search);
    if (reply.ok) {
      const hadPlots = document.querySelector("[data-plot]") !== null;
      const wanted = document.createElement("div");
      wanted.innerHTML = await reply.text();
      morph(live, wanted);
      if (!hadPlots) drawPlots();
      lastAt = new Date();
      lost.hidden = true;
    } else {
      tellLost((await problemOf(reply)) || `status ${reply.status}`);
    }
  } catch {
    tellLost("no answer");
  }
}

async function problemOf(reply) {
  try {
    return (await reply.json()).problem;
  } catch {
    return "";
  }
}

function tellLost(why) {
  const known = document.getElementById("locked") === null;
  lost.textContent = known ? `These figures are from ${lastAt.toLocaleTimeString()}: ${why}.` : `${why}.`;
  lost.hidden = !known && !token.value;
}

// Elements stay themselves wherever they can, so that focus, selection, a button that is being
// pressed and what is folded open survive.
function morph(old, wanted) {
  if (old.hasAttribute("data-keep") || old.hasAttribute("aria-busy")) return;
  for (const { name } of [...old.attributes]) {
    if (!wanted.hasAttribute(name) && !isOwn(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (old.getAttribute(name) !== value && !isOwn(old, name)) old.setAttribute(name, value);
  }
  let at = old.firstChild;
  for (const child of [...wanted.childNodes]) {
    const found = partner(at, child);
    if (found === null) {
      old.insertBefore(child, at);
      continue;
    }
    while (at !== found) at = dropped(at);
    if (child.nodeType === Node.ELEMENT_NODE) morph(found, child);
    else if (found.data !== child.data) found.data = child.data;
    at = found.nextSibling;
  }
  while (at !== null) at = dropped(at);
}

function isOwn(element, name) {
  return element === live || (element.tagName === "DETAILS" && name === "open");
}

function key(node) {
  return node.id || node.dataset?.key || null;
}

function partner(at, child) {
  for (let node = at; node !== null; node = key(child) && node.nextSibling) {
    if (node.nodeName === child.nodeName && key(node) === key(child)) return node;
  }
  return null;
}

function dropped(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

// Plots: pictures of the server. A picture cannot send the token, so with one they are fetched here.

async function drawPlots() {
  for (const image of document.querySelectorAll("[data-plot]")) {
    const source = image.parentElement.querySelector("source");
    const address = (theme) => `/-/plots/${image.dataset.plot}.svg?theme=${theme}&span=${image.dataset.span}&at=${Date.now()}`;
    if (!token.value) {
      if (source) source.srcset = address("dark");
      image.src = address("light");
      continue;
    }
    try {
      const reply = await ask(address(isDark.matches ? "dark" : "light"));
      if (!reply.ok) continue;
      source?.remove();
      if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(await reply.blob());
    } catch {
      // The banner tells of it.
    }
  }
}

// Asking the server

function ask(address, options = {}) {
  const headers = { ...options.headers };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  return fetch(address, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS), ...options, headers });
}

async function act(button) {
  if (button.hasAttribute("aria-busy")) return;
  if (button.dataset.ask && !(await isSure(button))) return;
  button.setAttribute("aria-busy", "true");
  tell("", "…");
  try {
    const reply = await ask(`/-/api/v1/${button.dataset.action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", [document.body.dataset.changeHeader]: "1" },
      body: button.dataset.order,
      signal: null,
    });
    const told = await reply.json();
    tell(reply.ok ? "good" : "bad", told.text || told.problem);
    if (reply.status === 403) token.focus();
  } catch (error) {
    tell("bad", `The proxy gave no answer: ${error.message}`);
  }
  button.removeAttribute("aria-busy");
  update();
}

// What hurts is asked for again. Escape and Enter both mean no, until the other button is chosen.
function isSure(button) {
  sure.querySelector("#sure-text").textContent = button.dataset.ask;
  sure.querySelector(".hurts").textContent = button.textContent;
  sure.returnValue = "no";
  sure.showModal();
  return new Promise((settled) => {
    sure.addEventListener("close", () => settled(sure.returnValue === "yes"), { once: true });
  });
}

function tell(kind, text) {
  answer.className = kind;
  answer.textContent = text;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (button) act(button);
});
document.querySelector(".token form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", token.value);
  tell("", "");
  update();
  drawPlots();
});
document.addEventListener("visibilitychange", () => everyMs && update());
isDark.addEventListener("change", drawPlots);

token.value = sessionStorage.getItem("token") || "";
if (token.value) drawPlots();
setInterval(() => document.hidden || drawPlots(), PLOTS_EVERY_MS);
if (everyMs || token.value || document.getElementById("locked")) update();
