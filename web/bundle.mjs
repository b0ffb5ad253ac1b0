// Bundles of a page's TypeScript, and the licences of the packages in them.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const client = new URL("../clients/typescript/", import.meta.url);
const { build } = createRequire(client)("esbuild");

/** Write the bundles of `entryPoints` and the file `licencesName` into the folder of `url`, a module of it; with --check say which is stale. */
export async function bundle(url, entryPoints, licencesName) {
  const here = fileURLToPath(new URL(".", url));
  const { outputFiles, metafile } = await build({
    absWorkingDir: here,
    entryPoints,
    outdir: ".",
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    metafile: true,
    write: false,
  });
  const packages = new Map(Object.keys(metafile.inputs).flatMap((path) => {
    const [folder, name] = /^.*node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path) ?? [];
    return name ? [[name, `${here}${folder}`]] : [];
  }));
  const licences = [];
  for (const [name, folder] of [...packages].sort()) {
    const { version, license } = JSON.parse(await readFile(`${folder}package.json`, "utf8"));
    const text = await readFile(`${folder}LICENSE`, "utf8").catch(() => license);
    licences.push(`${name} ${version}\n\n${text.trim()}\n`);
  }

  let stale = 0;
  const bundles = outputFiles.map(({ path, text }) => [basename(path), text]);
  for (const [name, text] of [...bundles, [licencesName, licences.join(`\n${"-".repeat(80)}\n\n`)]]) {
    const path = `${here}${name}`;
    if (!process.argv.includes("--check")) {
      await writeFile(path, text);
    } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
      console.error(`${basename(dirname(path))}/${name} is stale; run: make types`);
      stale = 1;
    }
  }
  process.exit(stale);
}
