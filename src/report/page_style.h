// The style of pages: light or dark as the reader's system is, from 390 pixels on.
#pragma once

namespace cskd::report {

inline constexpr const char* kPageStyle = R"css(
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1c1f23; --soft: #5d656f; --rule: #e3e5e8;
  --s0: #0868ac; --s1: #c8501c; --s2: #0c8a5f; --s3: #b23a8a; --s4: #a67800; --s5: #5a55c4; --s6: #1a94a8; --s7: #6b6f76; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2024; --ink: #e8eaed; --soft: #a0a8b2; --rule: #32373d;
  --s0: #62b0f0; --s1: #f59563; --s2: #4fcb9c; --s3: #e888c4; --s4: #e0b548; --s5: #a29df5; --s6: #5fd0e2; --s7: #a9aeb6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 16px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 1.25rem; margin: 44px 0 4px; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 4px 0 12px; max-width: 76ch; }
.lead, figcaption p, .note, dd { color: var(--soft); }
figcaption p { font-size: .85rem; margin: 0 0 6px; }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); margin-top: 12px; }
.card { margin: 0; padding: 14px 14px 8px; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; min-width: 0; }
svg { display: block; width: 100%; height: auto; max-width: 520px; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg text.row { fill: var(--ink); }
.grid { stroke: var(--rule); } .axis { stroke: var(--soft); }
.s0 { --c: var(--s0); } .s1 { --c: var(--s1); } .s2 { --c: var(--s2); } .s3 { --c: var(--s3); }
.s4 { --c: var(--s4); } .s5 { --c: var(--s5); } .s6 { --c: var(--s6); } .s7 { --c: var(--s7); }
.line { stroke: var(--c); fill: none; stroke-width: 2; stroke-linejoin: round; }
.dot { fill: var(--c); fill-opacity: .6; } .mark { fill: var(--c); }
.hollow { fill: var(--card); stroke: var(--c); stroke-width: 1.8; } .whisker { stroke: var(--c); stroke-width: 1.6; stroke-opacity: .55; }
.band { fill: var(--c); fill-opacity: .1; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; background: var(--c); margin-right: 6px; vertical-align: -1px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 10px 0 0; font-size: .9rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
th[scope=row] { min-width: 122px; white-space: normal; }
td small, th small { display: block; color: var(--soft); font-weight: 400; }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--rule); margin-top: 4px; min-width: 72px; }
.bar > i { display: block; height: 100%; border-radius: 2px; background: var(--c); }
.maps { display: grid; gap: 6px; align-items: center; }
.maps span { font-size: .8rem; color: var(--soft); text-align: center; }
.picture { aspect-ratio: 1; border-radius: 4px; overflow: hidden; isolation: isolate; background-size: 100% 100%; }
.picture img { display: block; width: 100%; height: 100%; mix-blend-mode: multiply; image-rendering: pixelated; }
.keys { font-size: .85rem; color: var(--soft); padding-left: 1.4em; }
details { margin-top: 14px; } summary { cursor: pointer; }
@media (max-width: 640px) { th, td { padding: 8px; } th[scope=row] { max-width: 136px; } th[scope=row] small { font-size: .75rem; } }
dt { font-weight: 600; margin-top: 10px; } dd { margin: 0; max-width: 76ch; }
)css";

}  // namespace cskd::report
