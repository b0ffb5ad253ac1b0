// Writes page.js, player.js and their licences from src/; with --check says which of them is stale.
import { bundle } from "../bundle.mjs";

await bundle(import.meta.url, { page: "src/main.ts", player: "src/player.ts" }, "page.js.LICENSES.txt");
