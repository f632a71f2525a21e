// Refreshes a page: loads the same page again and replaces the parts that differ. Without this script the page works,
// and stays as it was when it was loaded.
"use strict";

const EVERY = 2500;
const AT_MOST = 20000;

const state = document.getElementById("state");
const news = document.getElementById("news");
let pause = EVERY;
let timer = 0;
let running = false;

function say(live, text) {
  if (state.dataset.live !== live) state.dataset.live = live;
  const word = state.querySelector(".word");
  if (word.textContent !== text) word.textContent = text;
}

// A selector that finds an element again after its part was replaced.
function mark(element) {
  if (element.id) return "#" + CSS.escape(element.id);
  const link = element.getAttribute("href");
  return link ? `a[href="${CSS.escape(link)}"]` : null;
}

function selecting(part) {
  const selection = getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

function swap(fresh) {
  for (const part of document.querySelectorAll("[data-part]")) {
    const other = fresh.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
    if (!other || part.isEqualNode(other) || selecting(part)) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const same = focused && mark(focused);
    part.replaceChildren(...other.childNodes);
    const again = same && part.querySelector(same);
    if (again) again.focus({ preventScroll: true });
  }
  // Screen readers announce it, and only when it changed.
  const headline = fresh.getElementById("headline");
  if (headline && news.textContent !== headline.textContent) news.textContent = headline.textContent;
  document.title = fresh.title;
}

async function refresh() {
  if (running || document.hidden) return;
  running = true;
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(15000) });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    if (!answer.ok && answer.status !== 404) throw new Error(answer.statusText);
    swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
    pause = EVERY;
    say("yes", "live");
  } catch {
    pause = Math.min(pause * 2, AT_MOST);
    say("lost", "no connection, retrying");
  } finally {
    running = false;
    plan();
  }
}

function plan() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(refresh, pause);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) refresh();
});

say("yes", "live");
plan();
