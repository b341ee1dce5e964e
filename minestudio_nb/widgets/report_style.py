"""The style sheet of the static report: light and dark by the reader's preference, readable on paper and on a phone."""

from __future__ import annotations

from minestudio_nb.widgets.svg import CHART_CSS

__all__ = ["STYLE"]

STYLE = (
    """
:root{color-scheme:light dark;--back:#f6f7f5;--card:#fff;--text:#1d2320;--muted:#66706a;--line:#e3e7e2;
--c1:#2e8b57;--c2:#c8662b;--c3:#3a6fb0;--good:#2e8b57;--bad:#c0392b;--goodback:#e3f3e9;--badback:#fae6e3}
@media (prefers-color-scheme:dark){:root{--back:#141816;--card:#1d2320;--text:#e6ebe7;--muted:#95a19a;--line:#2f3833;
--c1:#5fc98d;--c2:#ef9a63;--c3:#7fb0ec;--good:#5fc98d;--bad:#f08a7d;--goodback:#1c3a2a;--badback:#46231f}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1060px;margin:0 auto;padding:2.2rem 1.4rem 4rem}
h1{font-size:1.9rem;margin:0 0 .2rem;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.4rem 0 .8rem}
.headline{font-size:1.15rem;margin:.3rem 0}
.muted,.empty{color:var(--muted);margin:.2rem 0}
.chip{font-size:.8rem;font-weight:600;vertical-align:middle;
padding:.15em .7em;border-radius:1em;background:var(--line);letter-spacing:0}
.chip.good{background:var(--goodback);color:var(--good)}.chip.bad{background:var(--badback);color:var(--bad)}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(200px,45%),1fr));gap:.8rem;margin:1.4rem 0 0}
.facts>div,.card{background:var(--card);border:1px solid var(--line);border-radius:10px}
.facts>div{padding:.7rem .9rem}
.facts dt{color:var(--muted);font-size:.82rem}
.facts dd{margin:0;font-size:1.3rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.3}
.facts small{display:block;font-size:.78rem;font-weight:400;color:var(--muted)}
figure{margin:0}
.card{padding:.9rem 1rem;overflow-x:auto}
.videos{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:1rem}
.videos video,.videos img{display:block;width:100%;border-radius:10px;background:#000;border:1px solid var(--line)}
.videos figcaption{margin:.45rem .2rem 0;color:var(--muted)}.videos b{color:var(--text)}
.frames{display:grid;grid-template-columns:minmax(0,384px) minmax(260px,1fr);gap:1rem;align-items:start}
.frames img{display:block;width:100%;border-radius:10px;image-rendering:pixelated}
@media (max-width:700px){.frames{grid-template-columns:1fr}}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(310px,100%),1fr));gap:1rem;margin-top:1rem}
.card figcaption{margin-bottom:.4rem}
.charts .muted{font-size:.82rem}
.key{color:var(--muted);font-size:.82rem;margin-left:.9em;white-space:nowrap}
.key::before{content:"";display:inline-block;width:1.3em;height:0;border-top:3px solid currentColor;
margin-right:.4em;vertical-align:middle}
.k1::before{color:var(--c1)}.k2::before{color:var(--c2)}.k3::before{color:var(--c3)}.thin::before{opacity:.4;border-top-width:1.5px}
.goal-key::before{color:var(--c3);border-top-style:dashed;border-top-width:2px}.marker-key::before{border-top-style:dotted}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);
vertical-align:top;font-variant-numeric:tabular-nums}
tbody tr:last-child td{border-bottom:0}
th{color:var(--muted);font-weight:500;white-space:nowrap}
.events td:last-child{white-space:pre-wrap;overflow-wrap:anywhere}.events td:not(:last-child){white-space:nowrap}
.metrics td:nth-child(2){white-space:nowrap}
.scroll{max-height:30rem;overflow:auto}
tr.warning td:nth-child(2),tr.error td:nth-child(2),.bad-text{color:var(--bad)}
tr.error td:nth-child(2){font-weight:700}
pre{font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace;overflow:auto;
white-space:pre-wrap;overflow-wrap:anywhere;margin:.4rem 0}
.failure{background:var(--badback);color:var(--bad);padding:.8rem 1rem;border-radius:10px}
code{font:.92em ui-monospace,Menlo,Consolas,monospace;white-space:nowrap}
details summary{cursor:pointer}details summary h2{display:inline-block;margin-bottom:.6rem}
.settings td:not(:first-child){overflow-wrap:anywhere}
@media print{:root{--back:#fff}body{font-size:11pt}main{max-width:none;padding:0}
.scroll{max-height:none}.card,figure,tr{break-inside:avoid}h2{break-after:avoid}
.charts{grid-template-columns:1fr 1fr}video{display:none}}
"""
    + CHART_CSS
)
