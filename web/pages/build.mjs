// Writes rest.js, events.js and their licences from src/; with --check says which of them is stale.
import { bundle } from "../bundle.mjs";

await bundle(import.meta.url, { rest: "src/rest.ts", events: "src/events.ts" }, "bundles.LICENSES.txt");
