// Elements. No text is parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const places = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export const when = (instant) =>
  instant ? h("time", { datetime: instant }, places.format(new Date(instant))) : "never";

export const number = (value) => new Intl.NumberFormat().format(value);

/** Format an amount in the smallest unit of its currency. */
export function money(amount, currency) {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency: currency.toUpperCase() });
  return format.format(amount / 10 ** format.resolvedOptions().maximumFractionDigits);
}

export const digits = (currency) =>
  new Intl.NumberFormat(undefined, { style: "currency", currency: currency.toUpperCase() }).resolvedOptions()
    .maximumFractionDigits;

export const badge = (text, kind = "") => h("span", { class: `badge ${kind}` }, text.replaceAll("_", " "));

export function say(message) {
  document.getElementById("status").textContent = message;
}

/** A table that is a list of cards on a narrow screen. `columns` are [heading, cell of a row]. */
export function table(caption, columns, rows) {
  if (!rows.length) return h("p", { class: "empty" }, "No entries.");
  return h(
    "table",
    null,
    h("caption", { class: "hidden" }, caption),
    h("thead", null, h("tr", null, columns.map(([heading]) => h("th", { scope: "col" }, heading)))),
    h(
      "tbody",
      null,
      rows.map((row) => h("tr", null, columns.map(([heading, cell]) => h("td", { "data-label": heading }, cell(row))))),
    ),
  );
}

let dialogs = 0;

/**
 * A form in a dialog; returns what was entered, or null. `fields` are elements with a name. `send` does what the form is for:
 * where it is refused, the dialog says why and keeps what was entered.
 */
export function ask(title, fields, action, kind = "danger", send = async () => {}) {
  const id = `dialog-title-${++dialogs}`;
  return new Promise((resolve) => {
    const refusal = h("p", { role: "alert", class: "refusal" });
    const submit = h("button", { class: kind }, action);
    const form = h(
      "form",
      { onsubmit },
      h("h2", { id }, title),
      fields,
      h("div", { class: "row end" }, h("button", { type: "button", onclick: () => done(null) }, "Cancel"), submit),
    );
    const dialog = h("dialog", { "aria-labelledby": id, onclose: () => done(null) }, form);
    async function onsubmit(event) {
      event.preventDefault();
      if (submit.getAttribute("aria-disabled")) return;
      // Not `disabled`, which would lose the focus.
      submit.setAttribute("aria-disabled", "true");
      refusal.remove();
      const answer = Object.fromEntries(new FormData(form));
      try {
        await send(answer);
        done(answer);
      } catch (problem) {
        form.lastElementChild.before(refusal);
        refusal.textContent = problem.message;
        refusal.scrollIntoView({ block: "nearest" });
      } finally {
        submit.removeAttribute("aria-disabled");
      }
    }
    // Another page is opened, for example the one that sets up a second factor.
    const leave = () => done(null);
    function done(answer) {
      removeEventListener("hashchange", leave);
      resolve(answer);
      // It returns the focus to where it was.
      dialog.close();
      dialog.remove();
    }
    addEventListener("hashchange", leave);
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const field = (label, control) => h("label", null, h("span", null, label), control);

export function select(attributes, options, chosen = "") {
  return h(
    "select",
    attributes,
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
}
