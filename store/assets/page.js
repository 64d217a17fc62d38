// Keeps the page current: an event says that it changed, and the parts that differ are replaced in place, so that focus, scroll
// position and opened details stay. The page is whole without this.
"use strict";

const AGAIN = 3000;
const main = document.querySelector("main");
const status = document.querySelector("#status");
let seen = main.dataset.version;
let loading = false;
let pending = false;

function say(text, state) {
  status.className = `status ${state}`;
  if (status.textContent !== text) status.textContent = text;
}

// Makes one tree like another, node by node. What a reader opened stays open.
function morph(from, to) {
  if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || from.id !== to.id) {
    from.replaceWith(to);
    return;
  }
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.data !== to.data) from.data = to.data;
    return;
  }
  for (const { name, value } of to.attributes) {
    if (name !== "open" && from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  for (const { name } of [...from.attributes]) {
    if (name !== "open" && !to.hasAttribute(name)) from.removeAttribute(name);
  }
  const old = [...from.childNodes];
  const next = [...to.childNodes];
  next.forEach((node, at) => (at < old.length ? morph(old[at], node) : from.append(node)));
  old.slice(next.length).forEach((node) => node.remove());
}

function prepare(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) button.hidden = false;
}

async function load() {
  pending = true;
  if (loading) return;
  loading = true;
  try {
    while (pending) {
      pending = false;
      const answer = await fetch(location.pathname, { cache: "no-cache" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = page.querySelector("main");
      if (!next) throw new Error(`status ${answer.status}`);
      const decision = main.dataset.decision;
      prepare(next);
      morph(main, next);
      document.title = page.title;
      seen = main.dataset.version;
      if (main.dataset.decision !== decision) {
        document.querySelector("#spoken").textContent = main.querySelector(".headline")?.textContent ?? "";
      }
    }
    say("Live", "on");
  } catch (error) {
    lost();
  } finally {
    loading = false;
  }
}

function lost() {
  const from = main.dataset.at;
  say(`Connection lost, trying again${from ? `. Numbers of ${from}` : ""}`, "off");
}

function listen() {
  const source = new EventSource(`${main.dataset.events}?seen=${encodeURIComponent(seen)}`);
  source.addEventListener("open", () => say("Live", "on"));
  source.addEventListener("change", (event) => {
    if (event.lastEventId !== seen) load();
  });
  source.addEventListener("error", () => {
    lost();
    // The browser tries again unless the server refused.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without a clipboard, the command is selected, ready for the keyboard.
    getSelection().selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

prepare(document);
listen();
