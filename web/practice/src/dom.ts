/** Makes elements. Text is text: nothing here, or on this page, parses HTML. */

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

/** Show a view and move the focus to its heading, so that a screen reader begins there. */
export function show(title: string, ...children: Child[]): void {
  const heading = h("h1", { tabindex: "-1" }, title);
  place("main").replaceChildren(heading, ...children.filter((child): child is Node | string => Boolean(child)));
  document.title = `${title} · Parlance`;
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Say something that is read out at once and stays until the next. */
export function say(sentence: string, kind: "news" | "trouble" = "news"): void {
  const box = place(kind);
  // The other one would still stand there.
  place(kind === "news" ? "trouble" : "news").textContent = "";
  box.textContent = sentence;
}

export function hush(): void {
  place("news").textContent = place("trouble").textContent = "";
}

export interface Field {
  name: string;
  label: string;
  hint?: string;
  attributes?: Record<string, string | boolean>;
  /** A choice: values and their words. */
  choices?: [string, string][];
  value?: string;
}

function control({ name, label, hint, attributes = {}, choices, value = "" }: Field): HTMLElement {
  const described: Attributes = { ...attributes, id: name, name, ...(hint && { "aria-describedby": `${name}-hint` }) };
  const input = choices
    ? h("select", described, ...choices.map(([each, words]) => h("option", { value: each, selected: each === value }, words)))
    : h("input", { ...described, value });
  return h("div", { class: "field" }, h("label", { for: name }, label), input, hint && h("p", { class: "hint", id: `${name}-hint` }, hint));
}

/** A form whose button is busy while it is sent. */
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
