// Uploads a file with tus-js-client, as: node tus_client.mjs <endpoint> <token> <file> <options as JSON>.
// With `interrupt` the upload is aborted after its first chunk, and a second client resumes it from its URL.
// Prints what the `first` and the `last` client said: {url, offset}, {done} or {error, status, body}.
import { createReadStream } from "node:fs";
import { Upload } from "tus-js-client";

const [endpoint, token, path, json] = process.argv.slice(2);
const { interrupt = false, ...options } = JSON.parse(json);

function upload(more, interrupted) {
  return new Promise((resolve) => {
    const sending = new Upload(createReadStream(path), {
      endpoint,
      headers: { Authorization: `Bearer ${token}` },
      metadata: { filename: "Lektion für Zoë.mp4", empty: "" },
      retryDelays: null,
      ...options,
      ...more,
      onSuccess: () => resolve({ done: true, url: sending.url }),
      onError: (error) =>
        resolve({
          error: error.message,
          status: error.originalResponse?.getStatus(),
          body: error.originalResponse?.getBody(),
        }),
      onChunkComplete: (_, offset) => {
        if (interrupted) sending.abort().then(() => resolve({ url: sending.url, offset }));
      },
    });
    sending.start();
  });
}

const first = await upload({}, interrupt);
const last = interrupt ? await upload({ uploadUrl: first.url }, false) : first;
// A file that a failed upload left open would keep the process alive.
process.stdout.write(`${JSON.stringify({ first, last })}\n`, () => process.exit());
