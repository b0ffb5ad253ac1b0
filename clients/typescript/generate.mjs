// Writes src/openapi.ts and src/asyncapi.ts from the two specs; with --check reports whether they are stale.
// Usage: generate.mjs [--check] [<folder of the specs> [<folder to write to>]]
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";
import { parse } from "yaml";

const here = fileURLToPath(new URL(".", import.meta.url));
const check = process.argv.includes("--check");
const [contracts = join(here, "../.."), output = join(here, "src")] = process.argv.slice(2).filter((each) => each !== "--check");

const heading = (spec) => `// Generated from ${spec} by \`make types\`; edit the spec, not this file.\n\n`;
/**
 * A list of values that may grow is a union that names those known today, and takes any other text. In REST answers it is
 * a plain string: openapi-fetch maps the fields of `string & {}` as it does an object's.
 */
const openUnion = (schema) => {
  const known = schema["x-extensible-enum"];
  if (!known) return undefined;
  const literals = known.map((value) => ts.factory.createLiteralTypeNode(ts.factory.createStringLiteral(value)));
  const others = ts.factory.createIntersectionTypeNode([
    ts.factory.createKeywordTypeNode(ts.SyntaxKind.StringKeyword),
    ts.factory.createTypeLiteralNode([]),
  ]);
  const none = [].concat(schema.type ?? []).includes("null") ? [ts.factory.createLiteralTypeNode(ts.factory.createNull())] : [];
  return ts.factory.createUnionTypeNode([...literals, ts.factory.createParenthesizedType(others), ...none]);
};
const types = async (document, options = {}) =>
  astToString(await openapiTS(document, { rootTypes: true, rootTypesNoSchemaPrefix: true, ...options }));

async function rest() {
  const document = parse(await readFile(join(contracts, "openapi.yaml"), "utf8"));
  return heading("openapi.yaml") + (await types(document));
}

async function events() {
  const document = parse(await readFile(join(contracts, "asyncapi.yaml"), "utf8"));
  const schemas = { ...document.components.schemas };

  const follow = (node) => {
    while (node?.$ref) node = node.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], document);
    return node;
  };
  /** The name of a message's type; a schema that has none of its own is named after the message. */
  const payload = (reference) => {
    const message = follow(reference);
    const named = /^#\/components\/schemas\/(\w+)$/.exec(message.payload?.$ref ?? "");
    if (named) return named[1];
    const name = `${message.name.replace(/(^|_)(\w)/g, (_, __, letter) => letter.toUpperCase())}Payload`;
    schemas[name] = message.payload ?? {};
    return name;
  };
  const union = (references) => references.map(payload).join(" | ");
  const comment = ({ summary, description }) =>
    ["  /**", ...[summary, ...(description ? ["", ...description.trim().split("\n")] : [])].map((line) => `   * ${line}`.trimEnd()), "   */"].join("\n");

  const sent = [];
  const received = [];
  for (const operation of Object.values(document.operations)) {
    const { name } = follow(operation.messages[0]);
    if (operation.action === "send") {
      received.push(`${comment(operation)}\n  ${name}: (payload: ${union(operation.messages)}) => void;`);
    } else {
      const ack = operation.reply ? `, ack: (answer: ${union(operation.reply.messages)}) => void` : "";
      sent.push(`${comment(operation)}\n  ${name}: (payload: ${union(operation.messages)}${ack}) => void;`);
    }
  }
  // AsyncAPI's schemas are JSON Schema, as those of OpenAPI 3.1 are: one generator serves both specs.
  const wrapped = { openapi: "3.1.0", info: document.info, paths: {}, components: { schemas } };
  const [, components] = /(export interface components [\s\S]*)/.exec(await types(wrapped, { transform: openUnion }));
  return [
    heading("asyncapi.yaml") + components.replace(/export type (\$defs|operations|webhooks) = .*\n/g, "").trimEnd(),
    `/** What a client sends, for socket.io-client's \`Socket<ServerEvents, ClientEvents>\`. */\nexport interface ClientEvents {\n${sent.join("\n")}\n}`,
    `/** What a client receives. */\nexport interface ServerEvents {\n${received.join("\n")}\n}`,
    "",
  ].join("\n\n").trimEnd() + "\n";
}

let stale = 0;
for (const [name, text] of [["openapi.ts", await rest()], ["asyncapi.ts", await events()]]) {
  const path = resolve(output, name);
  if (!check) {
    await writeFile(path, text);
  } else if ((await readFile(path, "utf8").catch(() => "")) !== text) {
    console.error(`clients/typescript/src/${name} is stale; run: make types`);
    stale = 1;
  }
}
process.exit(stale);
