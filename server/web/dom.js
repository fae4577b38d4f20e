// Small helpers over the DOM. No text ever becomes markup here: children are nodes or strings that stay text.

export const find = (id) => document.getElementById(id);

// element("a", {href: url, onclick: handler}, "text", node, null): absent values and children are left out.
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// One of the symbols of index.html.
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#icon-" + name);
  svg.append(use);
  return svg;
}

// A quiet button with an icon; its name is for ears and for the tooltip.
export function iconButton(name, label, onclick, attributes = {}) {
  return element("button", {type: "button", class: "quiet", title: label, "aria-label": label, onclick, ...attributes}, icon(name));
}

// Says a text to screen readers without showing it.
export function announce(text) {
  find("announcer").textContent = text;
}

let toastTimer = 0;

// A short notice at the bottom, with one thing that can be done about it.
export function toast(text, action = null, onclick = null) {
  const place = find("toast");
  clearTimeout(toastTimer);
  place.replaceChildren(element("span", {}, text));
  if (action) {
    const button = element("button", {type: "button", class: "link", onclick: () => { place.hidden = true; onclick(); }}, action);
    place.append(button);
  }
  place.hidden = false;
  toastTimer = setTimeout(() => { place.hidden = true; }, 7000);
}

// The clipboard is there only on localhost and over TLS; elsewhere the old way still works.
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", {readonly: true, class: "unseen"});
  area.value = text;
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  before?.focus();
  if (!isCopied) throw new Error("the browser refused");
}

// A button that copies what `text()` gives and says so.
export function copyButton(text, label) {
  const button = iconButton("copy", label, async () => {
    try {
      await copyText(text());
      button.classList.add("done");
      announce("Copied");
      setTimeout(() => button.classList.remove("done"), 1500);
    } catch {
      toast("The browser did not allow copying.");
    }
  });
  return button;
}
