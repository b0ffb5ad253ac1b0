/** Elements. No text on this page is parsed as HTML. */

type Child = Node | string | false | null | undefined;
type Attributes = Record<string, string | boolean | ((event: Event) => void)>;

/** An element; attributes that are functions are listeners, `true` is an empty attribute, `false` none. */
export function h<K extends keyof HTMLElementTagNameMap>(name: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child): child is Node | string => typeof child === "string" || child instanceof Node));
  return element;
}

export function place(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

let leave: (() => void) | undefined;

/** Call `work` when another view replaces the one that is shown. */
export function onLeave(work: () => void): void {
  leave = work;
}

/** Show a view and move the focus to its heading, so that a screen reader begins there. */
export function show(title: string, ...children: Child[]): void {
  leave?.();
  leave = undefined;
  dispatchEvent(new Event("viewchange"));
  const heading = h("h1", { tabindex: "-1" }, title);
  place("main").replaceChildren(heading, ...children.filter((child): child is Node | string => Boolean(child)));
  document.title = `${title} · Parlance`;
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Show a message, which screen readers announce; it stays until the next one. */
export function say(sentence: string, kind: "status" | "alert" = "status"): void {
  const box = place(kind);
  // An earlier message of the other kind would remain.
  place(kind === "status" ? "alert" : "status").textContent = "";
  box.textContent = sentence;
}

export function clearMessages(): void {
  for (const box of ["status", "alert", "notification"]) place(box).textContent = "";
}

/** A person's picture, or the first letter of the name without one. */
export function face(name: string, picture: string | null, kind = ""): HTMLElement {
  const image = picture && h("img", { src: picture, alt: "", error: (event) => (event.target as Element).remove() });
  return h("span", { class: `face ${kind}`, "aria-hidden": "true" }, name.slice(0, 1).toUpperCase(), image);
}

/** A dialog: what its buttons do, one thing at a time, and the place of an error. */
export interface Dialog {
  /** Do something, and close; the dialog stays open where it fails, and shows `explain` of the error. */
  attempt: (work: () => Promise<unknown>, done: () => unknown) => Promise<void>;
  close: () => void;
  problem: HTMLElement;
}

/** Open a dialog, whose content `fill` makes. The browser keeps the focus inside, closes with Escape, and returns the focus. */
export function openDialog(title: string, explain: (reason: unknown) => string, fill: (dialog: Dialog) => Child[]): void {
  const problem = h("p", { role: "alert", class: "problem" });
  const attempt: Dialog["attempt"] = async (work, done) => {
    if (element.hasAttribute("aria-busy")) return;
    element.setAttribute("aria-busy", "true");
    problem.textContent = "";
    try {
      await work();
      element.close();
      await done();
    } catch (reason) {
      problem.textContent = explain(reason);
    } finally {
      element.removeAttribute("aria-busy");
    }
  };
  const heading = h("h2", { id: "dialog-title" }, title);
  const element = h("dialog", { "aria-labelledby": "dialog-title", class: "card", close: () => element.remove() }, heading);
  element.append(...fill({ attempt, close: () => element.close(), problem }).filter((child): child is Node | string => Boolean(child)));
  document.body.append(element);
  element.showModal();
}

/** A section that is closed at first; `fill` makes its content when it is opened for the first time. */
export function disclosure(title: string, fill: () => Child[]): HTMLDetailsElement {
  const section = h("details", { class: "card" }, h("summary", {}, title));
  const opened = () => section.append(...fill().filter((child): child is Node | string => Boolean(child)));
  section.addEventListener("toggle", opened, { once: true });
  return section;
}

export interface Pages<T> {
  /** The list's accessible name and its class. */
  name: string;
  kind: string;
  /** Texts of the empty list and of the button for the next page. */
  nothing: string;
  more: string;
  read: (query: { limit: number; cursor?: string }) => Promise<{ items: T[]; nextCursor: string | null }>;
  row: (item: T) => HTMLLIElement;
  /** Called with the error of a page that cannot be read. */
  failed: (reason: unknown) => void;
}

/** A list that is read page by page. */
export function pages<T>({ name, kind, nothing, more, read, row, failed }: Pages<T>): [box: HTMLElement, list: HTMLUListElement] {
  const list = h("ul", { class: kind, "aria-label": name });
  const empty = h("p", { class: "soft", role: "status" }, "Loading …");
  const next = h("button", { hidden: true, click: () => void load() }, more);
  let cursor: string | undefined;
  const load = async () => {
    try {
      const page = await read(cursor === undefined ? { limit: 20 } : { limit: 20, cursor });
      const rows = page.items.map(row);
      list.append(...rows);
      empty.textContent = nothing;
      // The button may be gone, and the focus with it.
      if (cursor !== undefined) (rows[0]?.querySelector("a") ?? list).focus();
      cursor = page.nextCursor ?? undefined;
      next.hidden = cursor === undefined;
    } catch (reason) {
      empty.textContent = "";
      next.hidden = false;
      failed(reason);
    }
  };
  list.tabIndex = -1;
  void load();
  return [h("div", { class: "pages" }, list, empty, next), list];
}

export interface Field {
  name: string;
  label: string;
  hint?: string;
  attributes?: Record<string, string | boolean>;
  /** Options of a select: values and labels. */
  choices?: [string, string][];
  value?: string;
  /** A box to tick, whose value is `on`; absent where it is not ticked. */
  isBox?: boolean;
  /** The error of a value, or an empty text; the browser shows it beside the field. */
  check?: (value: string) => string;
}

function control({ name, label, hint, attributes = {}, choices, value = "", isBox, check }: Field): HTMLElement {
  const described: Attributes = { ...attributes, id: name, name, ...(hint && { "aria-describedby": `${name}-hint` }) };
  if (isBox) return h("div", { class: "check" }, h("input", { ...described, type: "checkbox" }), h("label", { for: name }, label));
  const input = choices
    ? h("select", described, ...choices.map(([each, words]) => h("option", { value: each, selected: each === value }, words)))
    : h("input", { ...described, value });
  if (check && input instanceof HTMLInputElement) input.addEventListener("input", () => input.setCustomValidity(check(input.value)));
  return h("div", { class: "field" }, h("label", { for: name }, label), input, hint && h("p", { class: "hint", id: `${name}-hint` }, hint));
}

/** A form whose button is disabled while it is sent. */
export function form(fields: Field[], button: string, send: (values: Record<string, string>) => Promise<void>): HTMLFormElement {
  const submit = h("button", { class: "primary" }, button);
  const element = h("form", {}, ...fields.map(control), submit);
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    if (submit.getAttribute("aria-disabled")) return;
    const values = Object.fromEntries([...new FormData(element)].map(([key, value]) => [key, String(value)]));
    // Not `disabled`, which would lose the focus.
    submit.setAttribute("aria-disabled", "true");
    void send(values).finally(() => submit.removeAttribute("aria-disabled"));
  });
  return element;
}
