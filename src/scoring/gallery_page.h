// The parts of a gallery's page around its photos.
#pragma once

namespace cskd::scoring {

inline constexpr const char* kGalleryHead = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scores of photos</title>
<style>
:root { color-scheme: light dark; --paper: #f6f6f4; --card: #fff; --ink: #1c1f23; --soft: #5d656f; --rule: #dfe2e5; --mark: #0868ac; }
@media (prefers-color-scheme: dark) { :root { --paper: #121416; --card: #1c2024; --ink: #e8eaed; --soft: #a0a8b2; --rule: #32373d; --mark: #62b0f0; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; align-items: center; gap: 8px 18px; padding: 10px 16px;
  background: var(--paper); border-bottom: 1px solid var(--rule); }
h1 { font-size: 1.05rem; margin: 0; }
header small { color: var(--soft); }
label { display: flex; align-items: center; gap: 6px; color: var(--soft); }
input, select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--rule); border-radius: 6px; padding: 3px 8px; min-width: 0; }
input[type=range] { padding: 0; width: 120px; accent-color: var(--mark); }
#histogram { display: flex; align-items: flex-end; gap: 1px; height: 34px; }
#histogram i { width: 6px; background: var(--mark); opacity: .35; border-radius: 1px 1px 0 0; }
#histogram i.in { opacity: 1; }
#photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(44vw, 180px), 1fr)); gap: 10px; padding: 14px 16px 60px; }
button.photo { all: unset; display: block; cursor: pointer; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
button.photo:focus-visible { outline: 3px solid var(--mark); }
.photo img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--paper); }
.photo span { display: flex; justify-content: space-between; gap: 8px; padding: 5px 8px; font-size: .85rem; }
.photo em { color: var(--soft); font-style: normal; white-space: nowrap; }
.photo b { font-variant-numeric: tabular-nums; }
.photo bdi { color: var(--soft); overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
dialog { border: 0; border-radius: 12px; padding: 18px; width: min(94vw, 560px); background: var(--card); color: var(--ink); }
dialog::backdrop { background: rgb(0 0 0 / .65); }
dialog img { display: block; width: 100%; max-height: 56vh; object-fit: contain; }
dialog p { margin: 10px 0 0; overflow-wrap: anywhere; }
.bars { display: flex; align-items: flex-end; gap: 4px; height: 90px; margin-top: 12px; }
.bars div { flex: 1; display: flex; flex-direction: column; justify-content: flex-end; height: 100%; text-align: center; font-size: .75rem; color: var(--soft); }
.bars i { display: block; background: var(--mark); border-radius: 2px 2px 0 0; }
#none { padding: 40px 16px; color: var(--soft); }
</style>
</head>
<body>
<header>
<h1 id="count"></h1><div id="histogram" aria-hidden="true"></div>
<label>Order <select id="order"><option value="best">best first</option><option value="worst">worst first</option>
<option value="unsure">widest spread first</option><option value="name">by name</option></select></label>
<label>At least <input id="least" type="range"><output id="leastOut"></output></label>
<label>Name <input id="name" type="search" placeholder="part of it"></label>
<label id="burstsLabel" hidden><input id="bursts" type="checkbox" checked> one of each burst</label>
<small id="model"></small>
</header>
<main id="photos"></main>
<p id="none" hidden>No photo is like that.</p>
<dialog id="one" aria-label="One photo"></dialog>
)html";

// Behind the photos, which are <script type="application/json" class="p"> elements.
inline constexpr const char* kGalleryTail = R"html(
<script>
"use strict";
const page = JSON.parse(document.getElementById("page").textContent);
const all = Array.from(document.querySelectorAll("script.p"), element => {
  const photo = JSON.parse(element.textContent);
  element.remove();
  return photo;
});
if (page.bursts) all.forEach((photo, i) => { photo.b = page.bursts[i]; });
const id = name => document.getElementById(name);
const make = (tag, text) => { const element = document.createElement(tag); if (text !== undefined) element.textContent = text; return element; };
const low = Math.min(...all.map(photo => photo.s), page.bins[page.bins.length - 1]);
const high = Math.max(...all.map(photo => photo.s), page.bins[0]);
let shown = [], drawn = 0, open = -1;

const kBars = 24, heights = new Array(kBars).fill(0);
for (const photo of all) heights[Math.min(kBars - 1, Math.floor((photo.s - low) / (high - low || 1) * kBars))] += 1;
const bars = heights.map(height => {
  const bar = make("i");
  bar.style.height = `${height ? Math.max(4, 100 * height / Math.max(...heights)) : 0}%`;
  id("histogram").append(bar);
  return bar;
});

const least = id("least");
least.min = low; least.max = high; least.step = (high - low) / 100 || 1; least.value = low;
id("burstsLabel").hidden = !page.bursts;
id("model").textContent = page.model + (page.failed ? `; ${page.failed} files could not be read` : "");

const orders = { best: (a, b) => b.s - a.s, worst: (a, b) => a.s - b.s, unsure: (a, b) => b.d - a.d, name: (a, b) => a.n < b.n ? -1 : 1 };

function draw() {
  const until = Math.min(shown.length, drawn + 120);
  for (; drawn < until; ++drawn) {
    const photo = shown[drawn], number = drawn, card = make("button");
    card.className = "photo";
    const image = make("img");
    image.src = "data:image/jpeg;base64," + photo.t;
    image.alt = "";
    const line = make("span"), name = make("bdi", photo.n.slice(photo.n.lastIndexOf("/") + 1));
    name.title = photo.n;
    line.append(make("b", photo.s.toFixed(2)), name);
    if (photo.b > 1) line.append(make("em", `1 of ${photo.b}`));
    card.append(image, line);
    card.setAttribute("aria-label", `${photo.n}, score ${photo.s.toFixed(2)}`);
    card.addEventListener("click", () => show(number));
    id("photos").append(card);
  }
}

function choose() {
  const text = id("name").value.toLowerCase(), floor = Number(least.value) - 1e-9;
  const bestOnly = page.bursts && id("bursts").checked;
  shown = all.filter(photo => photo.s >= floor && !(bestOnly && photo.b === 0) && photo.n.toLowerCase().includes(text)).sort(orders[id("order").value]);
  id("photos").replaceChildren();
  drawn = 0;
  draw();
  id("none").hidden = shown.length > 0;
  id("count").textContent = shown.length === all.length ? `${all.length} photos` : `${shown.length} of ${all.length} photos`;
  id("leastOut").textContent = Number(least.value).toFixed(2);
  bars.forEach((bar, i) => bar.classList.toggle("in", low + (i + 1) / kBars * (high - low) >= floor));
}

function show(number) {
  open = number;
  const photo = shown[number], dialog = id("one"), image = make("img"), rows = make("div");
  image.src = "data:image/jpeg;base64," + photo.t;
  image.alt = "";
  rows.className = "bars";
  const most = Math.max(...photo.p);
  photo.p.forEach((share, i) => {
    const column = make("div"), bar = make("i");
    bar.style.height = `${70 * share / most}%`;
    column.append(bar, make("span", String(page.bins[i])));
    column.title = `${(100 * share).toFixed(1)} %`;
    rows.append(column);
  });
  dialog.replaceChildren(image, make("p", `${photo.s.toFixed(3)}, spread ${photo.d.toFixed(2)}, number ${number + 1} of ${shown.length}`), make("p", photo.n), rows);
  if (!dialog.open) dialog.showModal();
}

const columns = () => getComputedStyle(id("photos")).gridTemplateColumns.split(" ").length;
document.addEventListener("keydown", event => {
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
  if (!(event.key in moves) || event.target.matches("input, select")) return;
  const cards = id("photos").children, dialog = id("one");
  const from = dialog.open ? open : Array.prototype.indexOf.call(cards, document.activeElement);
  const step = dialog.open && Math.abs(moves[event.key]) > 1 ? Math.sign(moves[event.key]) : moves[event.key];
  const to = Math.max(0, Math.min(shown.length - 1, from + step));
  while (drawn <= to && drawn < shown.length) draw();
  event.preventDefault();
  if (!shown.length) return;
  if (dialog.open) show(to);
  cards[to].focus();
});
addEventListener("scroll", () => { if (innerHeight + scrollY > document.body.scrollHeight - 1200) draw(); }, { passive: true });
for (const name of ["order", "least", "name", "bursts"]) id(name).addEventListener("input", choose);
choose();
</script>
</body>
</html>
)html";

}  // namespace cskd::scoring
