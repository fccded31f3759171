// Markdown as DOM nodes: paragraphs, headings, lists, quotes, code, tables. HTML stays text.

import { make } from "./dom.js";
import { inline } from "./inline.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: (.*))?$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?: (.*))?$/;
const DELIMITERS = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;
const FORMULA = { "\\[": "\\]", $$: "$$" };
const DEEPEST = 6;

/** Render a text. */
export function render(text, depth = 0) {
  const fragment = document.createDocumentFragment();
  for (const block of blocks(text)) fragment.append(draw(block, depth));
  return fragment;
}

/** Renders a text that grows into an element: blocks that are complete are drawn once. */
export class Growing {
  constructor(element) {
    this.element = element;
    this.text = "";
    this.settled = 0; // characters
    this.loose = []; // nodes of what may still change
  }

  update(text) {
    if (text === this.text) return;
    this.text = text;
    for (const node of this.loose) node.remove();
    const rest = text.slice(this.settled);
    const complete = blocks(rest.slice(0, rest.lastIndexOf("\n") + 1)); // a line that is being written may become another block
    if (complete.length > 1) {
      for (const block of complete.slice(0, -1)) this.element.append(draw(block, 0));
      this.settled += complete.at(-1).start;
    }
    const fragment = render(text.slice(this.settled));
    this.loose = [...fragment.childNodes];
    this.element.append(fragment);
  }
}

/** Return the line that opened the code a text ends in; null if it ends in none. */
export function openFence(text) {
  const last = blocks(text).at(-1);
  return last?.kind === "code" && !last.closed ? last.opening : null;
}

/** Split a text into blocks; `start` is where each begins in it. */
function blocks(text) {
  const lines = text.split("\n").map((line) => line.replace(/^[\t ]+/, (blank) => blank.replaceAll("\t", "    ")));
  const starts = [];
  let offset = 0;
  for (const line of text.split("\n")) {
    starts.push(offset);
    offset += line.length + 1;
  }
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const block = (TAKERS.find(([begins]) => begins(lines, at)) ?? [null, paragraph])[1](lines, at);
    found.push({ ...block, start: starts[at] });
    at = block.end;
  }
  return found;
}

const isBlank = (line) => line.trim() === "";

const TAKERS = [
  [(lines, at) => FENCE.test(lines[at]), code],
  [(lines, at) => HEADING.test(lines[at]), heading],
  [(lines, at) => RULE.test(lines[at]), (_lines, at) => ({ kind: "rule", end: at + 1 })],
  [(lines, at) => QUOTE.test(lines[at]), quote],
  [(lines, at) => ITEM.test(lines[at]), list],
  [isTable, table],
  [(lines, at) => formulaEnd(lines, at) !== null, formula],
];

function code(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const indent = lines[at].length - lines[at].trimStart().length;
  let end = at + 1;
  while (end < lines.length && !closes(lines[end], fence)) end += 1;
  const closed = end < lines.length;
  const inside = lines.slice(at + 1, end).map((line) => line.slice(Math.min(indent, line.length - line.trimStart().length)));
  return {
    kind: "code",
    language: language.trim().split(" ")[0].slice(0, 30),
    text: inside.join("\n"),
    opening: lines[at],
    closed,
    end: end + (closed ? 1 : 0),
  };
}

function closes(line, fence) {
  const mark = line.trim();
  return mark.length >= fence.length && mark === fence[0].repeat(mark.length) && line.length - line.trimStart().length < 4;
}

function heading(lines, at) {
  const [, marks, text = ""] = HEADING.exec(lines[at]);
  let words = text.trim();
  let size = words.length;
  while (words[size - 1] === "#") size -= 1;
  if (size === 0 || words[size - 1] === " ") words = words.slice(0, size).trim(); // closing marks
  return { kind: "heading", level: marks.length, text: words, end: at + 1 };
}

function quote(lines, at) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const text = lines.slice(at, end).map((line) => line.replace(QUOTE, "")).join("\n");
  return { kind: "quote", text, end };
}

function list(lines, at) {
  const first = marker(lines[at]);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = marker(lines[end]);
    if (item === null || item.ordered !== first.ordered || item.indent >= first.content || RULE.test(lines[end])) break;
    const inside = [item.text];
    end += 1;
    while (end < lines.length && belongs(lines, end, item)) {
      const line = lines[end];
      inside.push(line.slice(Math.min(item.content, line.length - line.trimStart().length)));
      end += 1;
    }
    items.push(inside.join("\n").trimEnd());
  }
  const loose = items.some((item) => /\n\s*\n/.test(item));
  return { kind: "list", ordered: first.ordered, number: first.number, items, loose, end };
}

function marker(line) {
  const match = ITEM.exec(line);
  if (!match) return null;
  const [, blank, mark, text = ""] = match;
  const spaces = text.length - text.trimStart().length;
  const ordered = mark.length > 1;
  const content = blank.length + mark.length + 1 + (spaces < 4 ? spaces : 0);
  return { indent: blank.length, content, ordered, number: ordered ? parseInt(mark, 10) : 1, text: text.trimStart() };
}

/** Does a line belong to an item that began above it? */
function belongs(lines, at, item) {
  const line = lines[at];
  if (isBlank(line)) {
    let next = at + 1;
    while (next < lines.length && isBlank(lines[next])) next += 1;
    return next < lines.length && isInside(lines[next], item);
  }
  return isInside(line, item) || (!isBlank(lines[at - 1]) && !interrupts(lines, at) && marker(line) === null);
}

function isInside(line, item) {
  const indent = line.length - line.trimStart().length;
  return indent >= item.content || indent >= item.indent + 2; // models indent by two under "1.", too
}

function isTable(lines, at) {
  const below = lines[at + 1];
  if (!lines[at].includes("|") || below === undefined || !below.includes("-") || !DELIMITERS.test(below)) return false;
  return cells(lines[at]).length === cells(below).length;
}

function table(lines, at) {
  const head = cells(lines[at]);
  const aligned = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "centre" : "right") : ""));
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => head.map((_, column) => cells(line)[column] ?? ""));
  return { kind: "table", head, rows, aligned, end };
}

function cells(line) {
  const found = [""];
  const row = line.trim();
  for (let i = 0; i < row.length; i += 1) {
    if (row[i] === "\\" && row[i + 1] === "|") {
      found[found.length - 1] += "|";
      i += 1;
    } else if (row[i] === "|") found.push("");
    else found[found.length - 1] += row[i];
  }
  if (row.startsWith("|")) found.shift();
  if (row.endsWith("|") && !row.endsWith("\\|") && found.length > 1) found.pop();
  return found.map((cell) => cell.trim());
}

/** Return where a formula of several lines ends, at a blank line at the latest; null if none begins here. */
function formulaEnd(lines, at) {
  const opening = lines[at].trim().slice(0, 2);
  const closing = FORMULA[opening];
  if (closing === undefined || lines[at].trim().slice(2).includes(closing)) return null;
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end])) {
    end += 1;
    if (lines[end - 1].includes(closing)) break;
  }
  return end;
}

function formula(lines, at) {
  const end = formulaEnd(lines, at);
  return { kind: "formula", text: lines.slice(at, end).join("\n"), end };
}

/** Does a line begin a block although the paragraph above it has not ended? */
function interrupts(lines, at) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || isTable(lines, at)) return true;
  const item = marker(line);
  return item !== null && item.number === 1 && item.text !== "";
}

function paragraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines, end)) end += 1;
  const text = lines.slice(at, end).map((line) => line.trim()).join("\n");
  return { kind: "paragraph", text, end };
}

function draw(block, depth) {
  if (depth > DEEPEST) return make("p", {}, block.text ?? block.items?.join("\n") ?? "");
  switch (block.kind) {
    case "rule":
      return make("hr");
    case "code":
      return drawCode(block);
    case "formula":
      return make("p", { className: "formula" }, block.text);
    case "heading": // those of the page itself stand above them
      return make(`h${Math.min(block.level + 2, 6)}`, { dir: "auto" }, ...inline(block.text));
    case "quote":
      return make("blockquote", { dir: "auto" }, render(block.text, depth + 1));
    case "list":
      return drawList(block, depth);
    case "table":
      return drawTable(block);
    default:
      return make("p", { dir: "auto" }, ...inline(block.text));
  }
}

function drawCode({ language, text }) {
  const label = language ? `code: ${language}` : "code";
  const pre = make("pre", { tabIndex: 0, role: "region", "aria-label": label }, make("code", {}, text.trimEnd()));
  if (language) pre.dataset.language = language;
  return pre;
}

function drawList({ ordered, number, items, loose }, depth) {
  const list = make(ordered ? "ol" : "ul", { dir: "auto" });
  if (ordered && number !== 1) list.start = number;
  for (const item of items) {
    const inside = render(item, depth + 1);
    const first = inside.firstElementChild;
    if (!loose && first?.tagName === "P") first.replaceWith(make("div", {}, ...first.childNodes));
    list.append(make("li", {}, inside));
  }
  return list;
}

function drawTable({ head, rows, aligned }) {
  const row = (tag, texts) =>
    make("tr", {}, ...texts.map((text, column) => make(tag, { className: aligned[column] ?? "" }, ...inline(text))));
  const body = make("tbody", {}, ...rows.map((texts) => row("td", texts)));
  const drawn = make("table", {}, make("thead", {}, row("th", head)), body);
  return make("div", { className: "table", tabIndex: 0, role: "region", "aria-label": "table" }, drawn);
}
