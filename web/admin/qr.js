// A QR code as inline SVG, of the modules that the server computed: no other service sees the secret in it.

import { svg } from "./dom.js";

/** Light modules around a code, so that cameras find it. */
const MARGIN = 4;

/** `rows` are texts of 1 (dark) and 0 (light). */
export function qrCode(rows, label) {
  const size = rows.length + 2 * MARGIN;
  const dark = rows.flatMap((row, y) => [...row].map((module, x) => (module === "1" ? `M${x + MARGIN} ${y + MARGIN}h1v1h-1z` : "")));
  return svg(
    "svg",
    { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, class: "qr", "shape-rendering": "crispEdges" },
    svg("rect", { width: size, height: size, fill: "#fff" }),
    svg("path", { d: dark.join(""), fill: "#000" }),
  );
}
