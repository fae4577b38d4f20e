// Markdown to DOM nodes, for text that a model wrote and nobody has checked. Nodes are built one by one and text stays
// text; the only attribute that comes from it is the address of a link, http or https. Nesting is bounded, and the time
// for a text grows with its length. Not all of CommonMark: what models write.

import {copyButton, element} from "./dom.js";

const kMaxDepth = 6;
const kMaxSpan = 2000;  // how far the end of an emphasis or a link may be from its begin

const shown = new WeakMap();

// Makes `container` show the text. Blocks that have not changed since the last call keep their nodes: a growing answer
// stays selectable, and costs only its last block.
export function renderMarkdown(container, text) {
  const before = shown.get(container) ?? [];
  const blocks = blocksOf(text.split("\n"));
  let same = 0;
  while (same < before.length && same < blocks.length && before[same] === blocks[same].source) ++same;
  while (container.childNodes.length > same) container.lastChild.remove();
  for (const block of blocks.slice(same)) container.append(block.build(0));
  shown.set(container, blocks.map((block) => block.source));
}

// ---- blocks: each {end, build(depth)}, where `end` is the line after it

function blocksOf(lines) {
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      ++at;
      continue;
    }
    const block = special(lines, at) ?? paragraph(lines, at);
    block.source = lines.slice(at, block.end).join("\n");
    blocks.push(block);
    at = block.end;
  }
  return blocks;
}

const special = (lines, at) =>
  fence(lines, at) ?? heading(lines, at) ?? rule(lines, at) ?? quote(lines, at) ?? list(lines, at) ?? table(lines, at);

// Whether a block begins here that ends a paragraph without an empty line.
const interrupts = (lines, at) =>
  fenceOf(lines[at]) !== null || heading(lines, at) !== null || rule(lines, at) !== null ||
  lines[at].trimStart().startsWith(">") || markerOf(lines[at]) !== null;

const isBlank = (line) => line.trim() === "";

function indentOf(line) {
  let width = 0;
  for (const c of line) {
    if (c === " ") ++width;
    else if (c === "\t") width += 4;
    else break;
  }
  return width;
}

// Cuts up to `width` columns of white space.
function outdented(line, width) {
  let at = 0;
  for (let cut = 0; at < line.length && cut < width && (line[at] === " " || line[at] === "\t"); ++at) cut += line[at] === "\t" ? 4 : 1;
  return line.slice(at);
}

function fenceOf(line) {
  const text = line.trimStart();
  const mark = text[0];
  if (mark !== "`" && mark !== "~") return null;
  let n = 1;
  while (text[n] === mark) ++n;
  const language = text.slice(n).trim();
  return n < 3 || (mark === "`" && language.includes("`")) ? null : {mark, n, language, indent: indentOf(line)};
}

function fence(lines, at) {
  const open = fenceOf(lines[at]);
  if (!open) return null;
  let end = at + 1;
  const isClose = (line) => {
    const close = fenceOf(line);
    return close !== null && close.mark === open.mark && close.n >= open.n && close.language === "";
  };
  while (end < lines.length && !isClose(lines[end])) ++end;
  const code = lines.slice(at + 1, end).map((line) => outdented(line, open.indent)).join("\n");
  const build = () => element("div", {class: "code"},
    element("div", {class: "code-head"}, element("span", {}, open.language.split(/[\s{]/, 1)[0]), copyButton(() => code, "Copy code")),
    element("pre", {tabindex: "0"}, element("code", {}, code)));
  return {end: Math.min(end + 1, lines.length), build};
}

function heading(lines, at) {
  const text = lines[at].trim();
  let level = 0;
  while (text[level] === "#") ++level;
  if (level < 1 || level > 6 || (text.length > level && text[level] !== " ")) return null;
  // The page's own headings are h1 and h2.
  return {end: at + 1, build: (depth) => element("h" + Math.min(level + 2, 6), {}, ...inline(text.slice(level).trim(), depth))};
}

function rule(lines, at) {
  const text = lines[at].replaceAll(" ", "").trim();
  if (text.length < 3 || !"-*_".includes(text[0])) return null;
  for (const c of text) if (c !== text[0]) return null;
  return {end: at + 1, build: () => element("hr")};
}

function quote(lines, at) {
  let end = at;
  const inner = [];
  for (; end < lines.length && lines[end].trimStart().startsWith(">"); ++end) {
    const text = lines[end].trimStart().slice(1);
    inner.push(text.startsWith(" ") ? text.slice(1) : text);
  }
  return end === at ? null : {end, build: (depth) => element("blockquote", {}, ...nested(inner, depth))};
}

function nested(lines, depth) {
  if (depth >= kMaxDepth) return [lines.join("\n")];
  return blocksOf(lines).map((block) => block.build(depth + 1));
}

// "- ", "* ", "+ ", "1. ", "1) " and what follows.
function markerOf(line) {
  const found = /^([ \t]{0,40})([-*+]|\d{1,9}[.)])(?:[ \t]|$)/.exec(line);
  if (!found || (rule([line], 0) !== null)) return null;
  const indent = indentOf(line);
  const isOrdered = found[2].length > 1;
  return {indent, isOrdered, number: parseInt(found[2], 10), width: indent + found[2].length + 1, text: line.slice(found[0].length).trimStart()};
}

function list(lines, at) {
  const first = markerOf(lines[at]);
  if (!first) return null;
  const items = [];
  let end = at;
  let width = 0;
  for (; end < lines.length; ++end) {
    const line = lines[end];
    if (isBlank(line)) {  // within the list only when the next line still is
      const next = lines[end + 1];
      if (next === undefined || isBlank(next)) break;
      const marker = markerOf(next);
      if (indentOf(next) < first.indent + 2 && !(marker && marker.isOrdered === first.isOrdered)) break;
      items.at(-1).push("");
      continue;
    }
    const marker = markerOf(line);
    if (marker && marker.indent < first.indent + 2) {
      if (marker.isOrdered !== first.isOrdered || marker.indent + 1 < first.indent) break;
      items.push([marker.text]);
      width = marker.width;
    } else if (indentOf(line) >= first.indent + 2) {
      items.at(-1).push(outdented(line, width));
    } else if (interrupts(lines, end) || isBlank(lines[end - 1])) {
      break;
    } else {
      items.at(-1).push(line.trimStart());
    }
  }
  const build = (depth) => {
    const start = first.isOrdered && first.number !== 1 ? String(first.number) : null;
    return element(first.isOrdered ? "ol" : "ul", {start}, ...items.map((item) => itemOf(item, depth)));
  };
  return {end, build};
}

function itemOf(lines, depth) {
  if (depth >= kMaxDepth) return element("li", {}, lines.join("\n"));
  const isTight = !lines.includes("");
  return element("li", {}, ...blocksOf(lines).flatMap((block) =>
    isTight && block.text !== undefined ? inline(block.text, depth + 1) : [block.build(depth + 1)]));
}

function cellsOf(line) {
  let text = line.trim();
  if (text.startsWith("|")) text = text.slice(1);
  if (text.endsWith("|") && !text.endsWith("\\|")) text = text.slice(0, -1);
  const cells = [""];
  for (let at = 0; at < text.length; ++at) {
    if (text[at] === "\\" && text[at + 1] === "|") cells[cells.length - 1] += text[++at];
    else if (text[at] === "|") cells.push("");
    else cells[cells.length - 1] += text[at];
  }
  return cells.map((cell) => cell.trim());
}

function table(lines, at) {
  if (!lines[at].includes("|") || !lines[at + 1]?.includes("-") || !lines[at + 1].includes("|")) return null;
  const head = cellsOf(lines[at]);
  const marks = cellsOf(lines[at + 1]);
  if (marks.length !== head.length || !marks.every((mark) => /^:?-+:?$/.test(mark))) return null;
  const sides = marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "right") : null));
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) ++end;
  const row = (cells, tag, depth) => element("tr", {},
    ...head.map((_, column) => element(tag, {class: sides[column]}, ...inline(cells[column] ?? "", depth))));
  const build = (depth) => element("div", {class: "table", tabindex: "0"}, element("table", {},
    element("thead", {}, row(head, "th", depth)),
    element("tbody", {}, ...lines.slice(at + 2, end).map((line) => row(cellsOf(line), "td", depth)))));
  return {end, build};
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) ++end;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return {end, text, build: (depth) => element("p", {}, ...inline(text, depth))};
}

// ---- text within a block

const kSpans = {
  "`": codeSpan, "*": emphasis, "_": emphasis, "~": emphasis, "[": link, "!": image, "h": address, "\\": escaped,
  "\n": (text, at) => ({node: element("br"), end: at + 1}),
};

function inline(text, depth) {
  if (depth > 2 * kMaxDepth) return [text];
  const nodes = [];
  const absent = new Set();  // marks that are known not to come again
  let from = 0;
  for (let at = 0; at < text.length;) {
    const span = Object.hasOwn(kSpans, text[at]) ? kSpans[text[at]](text, at, depth, absent) : null;
    if (!span) {
      ++at;
      continue;
    }
    if (at > from) nodes.push(text.slice(from, at));
    nodes.push(span.node);
    at = from = span.end;
  }
  if (from < text.length) nodes.push(text.slice(from));
  return nodes;
}

function runAt(text, at) {
  let end = at;
  while (text[end] === text[at]) ++end;
  return end - at;
}

function codeSpan(text, at, depth, absent) {
  const n = runAt(text, at);
  const mark = "`".repeat(n);
  if (!absent.has(mark)) {
    for (let close = text.indexOf("`", at + n); close >= 0;) {
      const length = runAt(text, close);
      if (length === n) {
        const code = text.slice(at + n, close);
        const isPadded = code.startsWith(" ") && code.endsWith(" ") && code.trim() !== "";
        return {node: element("code", {}, isPadded ? code.slice(1, -1) : code), end: close + n};
      }
      close = text.indexOf("`", close + length);
    }
    absent.add(mark);
  }
  return {node: document.createTextNode(mark), end: at + n};
}

const isWord = (c) => c !== undefined && /[\p{L}\p{N}_]/u.test(c);
const isDigit = (c) => c >= "0" && c <= "9";
const isSpace = (c) => c === undefined || c.trim() === "";

function emphasis(text, at, depth, absent) {
  const c = text[at];
  const mark = text[at + 1] === c ? c + c : c;
  if (mark === "~" || absent.has(mark) || isSpace(text[at + mark.length])) return null;
  if (c === "_" && isWord(text[at - 1])) return null;
  if (mark === "*" && isDigit(text[at - 1]) && isDigit(text[at + 1])) return null;  // 2*3*4
  const last = at + kMaxSpan;
  for (let close = text.indexOf(mark, at + mark.length + 1); close <= last; close = text.indexOf(mark, close + 1)) {
    if (close < 0) {
      absent.add(mark);
      return null;
    }
    if (mark.length === 1 && text[close + 1] === c) {  // the mark of another kind: over both
      ++close;
      continue;
    }
    if (mark.length === 2 && text[close + 2] === c) ++close;  // "***": the inner one closes first
    if (isSpace(text[close - 1]) || (c === "_" && isWord(text[close + mark.length]))) continue;
    const tag = c === "~" ? "del" : mark.length === 2 ? "strong" : "em";
    return {node: element(tag, {}, ...inline(text.slice(at + mark.length, close), depth + 1)), end: close + mark.length};
  }
  return null;
}

// The address where it is one that may be followed; null for all others, javascript: among them.
function safeAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

const anchor = (href, children) => element("a", {href, target: "_blank", rel: "noopener noreferrer"}, ...children);

function link(text, at, depth, absent) {
  const middle = absent.has("](") ? -1 : text.indexOf("](", at);
  if (middle < 0) absent.add("](");
  if (middle < 0 || middle > at + kMaxSpan) return null;
  const label = text.slice(at + 1, middle);
  if (label.includes("[")) return null;
  let open = 1;
  let end = middle + 2;
  for (; end < text.length && end < middle + kMaxSpan; ++end) {
    if (text[end] === "(") ++open;
    else if (text[end] === ")" && --open === 0) break;
    else if (text[end] === "\n") return null;
  }
  if (text[end] !== ")") return null;
  const href = safeAddress(text.slice(middle + 2, end).trim().split(" ", 1)[0]);
  const children = inline(label, depth + 1);
  return {node: href ? anchor(href, children) : element("span", {}, ...children), end: end + 1};
}

// An image would be fetched from elsewhere: it becomes a link to it.
function image(text, at, depth, absent) {
  return text[at + 1] === "[" ? link(text, at + 1, depth, absent) : null;
}

function address(text, at) {
  if (!text.startsWith("http://", at) && !text.startsWith("https://", at)) return null;
  if (isWord(text[at - 1])) return null;
  let end = at;
  while (end < text.length && !/[\s<>"`]/.test(text[end])) ++end;
  while (end > at && ".,;:!?'*_)]".includes(text[end - 1])) --end;
  const shownText = text.slice(at, end);
  const href = safeAddress(shownText);
  return href ? {node: anchor(href, [shownText]), end} : null;
}

function escaped(text, at) {
  const next = text[at + 1];
  return next !== undefined && "\\`*_{}[]()#+-.!|~>".includes(next) ? {node: document.createTextNode(next), end: at + 2} : null;
}
