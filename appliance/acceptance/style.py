"""How the report's page looks: on a screen, and on A4 paper in black and white."""

STYLE = """
:root { --ink: #1b2329; --quiet: #5c6870; --line: #d5dbdf; --good: #1a6b3c; --bad: #a8201a; }
* { box-sizing: border-box; }
body { font: 15px/1.5 "Source Sans 3", "Segoe UI", "Liberation Sans", Arial, sans-serif;
  color: var(--ink); background: #fff; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 0.5rem; }
h1 + p { margin: 0.2rem 0 1.4rem; color: var(--quiet); }
p { margin: 0.4rem 0; }
.verdict { border-left: 6px solid var(--good); padding: 0.7rem 1rem; background: #f1f7f3; }
.verdict.bad { border-color: var(--bad); background: #fbf1f0; }
.verdict strong { font-size: 1.25rem; margin-right: 0.8rem; color: var(--good); }
.verdict.bad strong { color: var(--bad); }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 0.32rem 0.9rem 0.32rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
thead th { color: var(--quiet); font-weight: 600; border-bottom: 2px solid var(--line); }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th[scope="row"] { font-weight: 600; white-space: nowrap; }
table.facts th { width: 8rem; padding-right: 1.5rem; color: var(--quiet); font-weight: 400; }
code { font: 0.84em/1.4 "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere; }
table.checks td:last-child { width: 26%; }
.state { width: 4.2rem; font-weight: 700; white-space: nowrap; }
.pass { color: var(--good); } .fail { color: var(--bad); } .skipped { color: var(--quiet); }
.advice { display: block; color: var(--bad); }
.quiet { color: var(--quiet); }
svg { width: 100%; height: auto; display: block; }
svg text { font-family: inherit; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.88rem;
  color: var(--quiet); }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em; }
.legend b { display: inline-block; width: 1.1em; margin: 0 0.4em 0.25em 0;
  border-top: 2.5px solid var(--ink); }
.settings { columns: 2; column-gap: 2.5rem; font-size: 0.92rem; }
.settings p { margin: 0; padding: 0.2rem 0; border-bottom: 1px solid var(--line);
  break-inside: avoid; display: flex; justify-content: space-between; gap: 1rem; }
footer { margin: 2.5rem 0 1rem; padding-top: 0.8rem; border-top: 1px solid var(--line);
  color: var(--quiet); font-size: 0.88rem; }
@media print {
  @page { size: A4; margin: 16mm 14mm; }
  body { margin: 0; padding: 0; max-width: none; font-size: 9.5pt; line-height: 1.35; }
  th, td { padding-top: 0.2rem; padding-bottom: 0.2rem; }
  h2 { margin-top: 1.4rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, p.quiet { break-after: avoid; }
  tr, svg, .verdict, figure { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""
