// Prints what @asyncapi/parser has against a document, one line each: `path: message`.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const WARNING = 1;
const diagnostics = await new Parser().validate(readFileSync(process.argv[2], "utf8"));
for (const { severity, path, message } of diagnostics) {
  if (severity <= WARNING) console.log(`${path.join(".")}: ${message.replaceAll("\n", " ")}`);
}
