/** The viewer of both specs, a vendored script; settings that keep it on this server and in the page's colors. */
import { login } from "./login.ts";

interface Viewer {
  updateConfiguration(configuration: object): void;
}
declare const Scalar: { createApiReference(place: string, configuration: object): Viewer };

/** A part of the page above the operations: the template `id`, named `label` in the list beside them. */
export interface Part {
  id: string;
  label: string;
}

const place = document.getElementById("viewer")!;

/** Load the document that the page shows. */
export async function loadDocument<Content>(): Promise<Content> {
  const text = await (await fetch(place.dataset.document!)).text();
  // The samples' origin is that of a server on the reader's machine.
  return JSON.parse(text.replaceAll(place.dataset.origin!, location.origin));
}

/** Show a document; requests that are tried carry the token of `login`. */
export function show(content: object, parts: Part[] = []): void {
  const views = parts.map(({ id, label }) => ({ component: "page-part", props: { template: id }, sidebar: { show: true, label } }));
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
    plugins: [() => ({ name: "parts", extensions: [], views: { "content.start": views } })],
  });
  const viewer = Scalar.createApiReference("#viewer", configure());
  login.addEventListener("change", () => viewer.updateConfiguration(configure()));
}

/** The content of a template, kept when the viewer draws its surroundings again. */
class PagePart extends HTMLElement {
  static readonly #contents = new Map<string, Node[]>();

  connectedCallback(): void {
    const id = this.getAttribute("template")!;
    let nodes = PagePart.#contents.get(id);
    if (nodes === undefined) {
      nodes = [...document.querySelector<HTMLTemplateElement>(`template#${id}`)!.content.childNodes];
      PagePart.#contents.set(id, nodes);
      this.append(...nodes);
      document.dispatchEvent(new CustomEvent("part", { detail: { id, element: this } }));
    } else {
      this.append(...nodes);
    }
  }
}
customElements.define("page-part", PagePart);
