// Writes page.js, and the licences of what is in it, from src/; with --check says whether they are what it would write.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const client = new URL("../../clients/typescript/", import.meta.url);
const { build } = createRequire(client)("esbuild");
const here = fileURLToPath(new URL(".", import.meta.url));

const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
});
const packages = new Set(Object.keys(metafile.inputs).flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []));
const licences = [];
for (const name of [...packages].sort()) {
  const folder = new URL(`node_modules/${name}/`, client);
  const { version, license } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
  const text = await readFile(new URL("LICENSE", folder), "utf8").catch(() => license);
  licences.push(`${name} ${version}\n\n${text.trim()}\n`);
}

let stale = 0;
for (const [name, text] of [["page.js", outputFiles[0].text], ["page.js.LICENSES.txt", licences.join(`\n${"-".repeat(80)}\n\n`)]]) {
  const path = `${here}${name}`;
  if (!process.argv.includes("--check")) {
    await writeFile(path, text);
  } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`web/practice/${name} is not what its source says; run: make types`);
    stale = 1;
  }
}
process.exit(stale);
