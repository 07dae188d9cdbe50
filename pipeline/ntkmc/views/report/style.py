"""Style sheet of the report, for screens, phones and paper."""

CSS = """
:root { --ink: #1b2430; --soft: #4a5361; --line: #d5dae1; --accent: #005a8e; color-scheme: light; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 17px/1.55 "STIX Two Text", "Libertinus Serif", Charter, Georgia, "Times New Roman", serif; }
main, header, footer { max-width: 46rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 2.6rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; font-weight: 600; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .5rem; font-weight: 600; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; font-weight: 600; }
p { margin: .5rem 0; }
.meta, figcaption, caption, .note { color: var(--soft); font-size: .88rem; }
.abstract { border-left: 3px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: 1.2rem 0; }
a { color: var(--accent); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
nav ol { padding-left: 1.2rem; columns: 2 14rem; margin: .4rem 0; }
figure { margin: 1.6rem 0; }
figure img { width: 100%; height: auto; display: block; }
@media (min-width: 62rem) { figure { margin-left: -4rem; margin-right: -4rem; } figcaption { padding: 0 4rem; } }
figcaption { margin-top: .4rem; }
.scroll { overflow-x: auto; margin: .8rem 0 1.2rem; }
@media (min-width: 74rem) { .wide { margin-left: -11rem; margin-right: -11rem; } .wide table { margin: 0 auto; } }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums lining-nums; min-width: 60%; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .16rem .7rem .16rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th { font-weight: 600; border-bottom: 1px solid var(--ink); }
tbody th { border: 0; font-weight: 400; }
th.l, td.l { text-align: left; }
td.wrap, th.wrap { text-align: left; white-space: normal; min-width: 13rem; overflow-wrap: anywhere; }
tbody tr { border-bottom: 1px solid #edf0f3; }
code, pre { font: .82em/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { background: #f5f7f9; padding: .7rem .9rem; overflow-x: auto; border-radius: 3px; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.1rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.claim { border-top: 1px solid #edf0f3; padding: .5rem 0; }
.claim h3 { margin: 0; font-size: .95rem; font-weight: 600; overflow-wrap: anywhere; }
.claim p { margin: .15rem 0; font-size: .9rem; }
.formula { overflow-x: auto; padding: .25rem 0; }
math { font-size: 1.02em; }
footer { padding-top: 1rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; border-top: 1px solid var(--line); margin-top: 2.5rem; }
@media (max-width: 34rem) {
  body { font-size: 16px; } h1 { font-size: 1.5rem; } dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; }
  th, td { padding-right: .5rem; }
}
@page { margin: 18mm 16mm; }
@media print {
  body { font-size: 10pt; } main, header, footer { max-width: none; padding: 0; } header { padding-top: 0; }
  figure { margin-left: 0; margin-right: 0; break-inside: avoid; } figcaption { padding: 0; } nav { display: none; }
  h2, h3, caption { break-after: avoid; } tr, .claim { break-inside: avoid; } .scroll { overflow: visible; }
  .wide { margin-left: 0; margin-right: 0; } table { font-size: 7.5pt; } .wide table { font-size: 6.6pt; } a { color: inherit; text-decoration: none; } .screen { display: none; }
  td.wrap { min-width: 0; }
}
"""
