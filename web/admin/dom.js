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

/** A form in a dialog; returns what was entered, or null. `fields` are elements with a name. */
export function ask(title, fields, action, kind = "danger") {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { "aria-labelledby": "dialog-title", onclose: () => done(null) },
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            done(Object.fromEntries(new FormData(event.target)));
          },
        },
        h("h2", { id: "dialog-title" }, title),
        fields,
        h(
          "div",
          { class: "row end" },
          h("button", { type: "button", onclick: () => done(null) }, "Cancel"),
          h("button", { class: kind }, action),
        ),
      ),
    );
    function done(answer) {
      resolve(answer);
      dialog.remove();
    }
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
