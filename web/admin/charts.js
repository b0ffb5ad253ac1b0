// Bar charts as inline SVG. The numbers are in a table too, for screen readers.

import { h, number, svg } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 150;
const FOOT = 18;

/** `bars` are [label, value]; every `step`-th label is written. */
export function chart(title, bars, step) {
  const highest = Math.max(1, ...bars.map(([, value]) => value));
  const wide = WIDTH / bars.length;
  const total = bars.reduce((sum, [, value]) => sum + value, 0);
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", class: "chart" },
    svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT - FOOT, y2: HEIGHT - FOOT, class: "axis" }),
    bars.flatMap(([label, value], place) => {
      const high = (value / highest) * (HEIGHT - FOOT - 8);
      const bar = svg(
        "rect",
        { x: place * wide + 1.5, y: HEIGHT - FOOT - high, width: wide - 3, height: high, rx: 2 },
        svg("title", null, `${label}: ${number(value)}`),
      );
      const isNamed = (bars.length - 1 - place) % step === 0;
      const isLast = place === bars.length - 1; // its label would be cut off at the edge
      const x = isLast ? WIDTH : place * wide + wide / 2;
      const name = svg("text", { x, y: HEIGHT - 4, "text-anchor": isLast ? "end" : "middle" }, label);
      return isNamed ? [bar, name] : [bar];
    }),
  );
  return h(
    "section",
    { class: "card" },
    h("h2", null, title, h("small", null, number(total))),
    drawing,
    h(
      "details",
      null,
      h("summary", null, "As a table"),
      h(
        "table",
        null,
        h("caption", { class: "hidden" }, title),
        h("tbody", null, bars.map(([label, value]) => h("tr", null, h("th", { scope: "row" }, label), h("td", null, number(value))))),
      ),
    ),
  );
}
