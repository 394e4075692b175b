"""The look of the report: light and dark by the reader's setting, and on paper."""

CSS = """
:root { --ink: #1d2126; --quiet: #5b636d; --paper: #ffffff; --soft: #f4f5f7; --line: #d9dde2;
  --accent: #0072b2; --alarm: #b3400a; --alarm-soft: #fdf1ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --quiet: #9aa3ae;
  --paper: #14171a; --soft: #1d2125; --line: #343a41; --accent: #56b4e9; --alarm: #ff9a5c;
  --alarm-soft: #2b1d14; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
p { margin: .5rem 0; max-width: 46rem; }
ul { margin: .5rem 0; padding-left: 1.2rem; max-width: 46rem; }
li { margin: .25rem 0; }
.quiet, figcaption { color: var(--quiet); font-size: .875rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 0;
  font-size: .925rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0; break-inside: avoid; }
figcaption { margin-top: .4rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: baseline;
  white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; }
.number { text-align: right; padding: .3rem 0 .3rem 1.2rem; }
td strong { color: var(--accent); }
img { max-width: 100%; height: auto; display: block; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr));
  gap: .5rem 1.5rem; }
.gallery figure { margin: .5rem 0; }
.alarm { margin: 1.5rem 0; padding: .8rem 1.2rem; border: 2px solid var(--alarm);
  border-left-width: .6rem; border-radius: 4px; background: var(--alarm-soft);
  break-inside: avoid; }
.alarm h2 { border: 0; margin: 0; padding: 0; color: var(--alarm); font-size: 1.05rem; }
.alarm ul { max-width: none; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .925rem; }
@media (prefers-color-scheme: dark) {
  .plot img { filter: invert(1) hue-rotate(180deg); mix-blend-mode: screen; } }
@media print {
  :root { --ink: #000; --quiet: #444; --paper: #fff; --line: #bbb; --accent: #004f7c;
    --alarm: #b3400a; --alarm-soft: #fff; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; }
  h2 { break-after: avoid; } .plot img { filter: none; mix-blend-mode: normal; }
  .gallery { grid-template-columns: repeat(3, 1fr); } .scroll { overflow: visible; } }
"""
