/** The viewer of both specs, a vendored script; settings that keep it on this server and in the page's colors. */
import { login } from "./login.ts";

interface Viewer {
  updateConfiguration(configuration: object): void;
}
declare const Scalar: { createApiReference(place: string, configuration: object): Viewer };

/** Show a document in `#viewer`; requests that are tried out carry the token of `login`. */
export async function show(settings: object = {}): Promise<void> {
  const place = document.getElementById("viewer")!;
  const text = await (await fetch(place.dataset.document!)).text();
  // The samples' origin is that of a server on the reader's machine.
  const content = JSON.parse(text.replaceAll(place.dataset.origin!, location.origin));
  const configure = () => ({
    content,
    theme: "none",
    layout: "modern",
    baseServerURL: location.origin,
    servers: [{ url: location.origin }],
    withDefaultFonts: false,
    telemetry: false,
    agent: { disabled: true },
    mcp: { disabled: true },
    hideClientButton: true,
    hideDarkModeToggle: true,
    showDeveloperTools: "never",
    documentDownloadType: "none",
    hiddenClients: true,
    defaultOpenAllTags: false,
    showOperationId: true,
    generateOperationSlug: ({ operationId, method, path }: { operationId?: string; method: string; path: string }) =>
      operationId ?? `${method}${path}`,
    authentication: {
      preferredSecurityScheme: "bearer",
      securitySchemes: { bearer: { token: login.token ?? "" } },
    },
    ...settings,
  });
  const viewer = Scalar.createApiReference("#viewer", configure());
  login.addEventListener("change", () => viewer.updateConfiguration(configure()));
}
