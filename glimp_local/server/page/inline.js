// The Markdown within a line, as DOM nodes: emphasis, code, links. HTML stays text, and so do formulas.
//
// Every search forward is remembered when it fails, or is bounded, so that no text takes more than linear time.

import { make } from "./dom.js";

const SPECIAL = /[\\`$*_~[<]|\bhttps?:\/\//g;
const ADDRESS = /https?:\/\/[^\s<>"`]+/y;
const ESCAPED = new Set("\\`*_[]()#+-.!|~>$");
const DEEPEST = 8;
const LONGEST_LABEL = 1000;
const LONGEST_ADDRESS = 2000;

/** Turn a text into nodes. */
export function inline(text, depth = 0) {
  return depth > DEEPEST ? [document.createTextNode(text)] : new Scanner(text, depth).nodes();
}

class Scanner {
  constructor(text, depth) {
    this.text = text;
    this.depth = depth;
    this.found = [];
    this.plain = "";
    this.missing = new Set(); // what does not come any more
  }

  nodes() {
    const { text } = this;
    let at = 0;
    while (at < text.length) {
      SPECIAL.lastIndex = at;
      const match = SPECIAL.exec(text);
      const next = match ? match.index : text.length;
      this.plain += text.slice(at, next);
      if (!match) break;
      at = this.special(next);
    }
    this.flush();
    return this.found;
  }

  flush() {
    if (this.plain) this.found.push(document.createTextNode(this.plain));
    this.plain = "";
  }

  add(node) {
    this.flush();
    this.found.push(node);
  }

  /** Take what begins at a special character, and return where it ends. */
  special(at) {
    const { text } = this;
    const end =
      {
        "\\": () => this.backslash(at),
        "`": () => this.code(at),
        $: () => this.dollar(at),
        "*": () => this.emphasis(at),
        _: () => this.emphasis(at),
        "~": () => this.emphasis(at),
        "[": () => this.link(at),
        "<": () => this.pointed(at),
        h: () => this.address(at),
      }[text[at]]() ?? null;
    if (end !== null) return end;
    const size = /[`*_~]/.test(text[at]) ? this.run(at) : 1; // a run of marks that mean nothing is one piece of text
    this.plain += text.slice(at, at + size);
    return at + size;
  }

  run(at) {
    let end = at;
    while (this.text[end] === this.text[at]) end += 1;
    return end - at;
  }

  find(what, from) {
    if (this.missing.has(what)) return -1;
    const at = this.text.indexOf(what, from);
    if (at < 0) this.missing.add(what);
    return at;
  }

  verbatim(at, end) {
    this.plain += this.text.slice(at, end);
    return end;
  }

  backslash(at) {
    const next = this.text[at + 1];
    if (next === "(" || next === "[") {
      const close = this.find(next === "(" ? "\\)" : "\\]", at + 2);
      return this.verbatim(at, close < 0 ? at + 2 : close + 2);
    }
    if (!ESCAPED.has(next)) return null;
    this.plain += next;
    return at + 2;
  }

  code(at) {
    const size = this.run(at);
    const close = this.closingTicks(at + size, size);
    if (close < 0) return null;
    let inside = this.text.slice(at + size, close).replaceAll("\n", " ");
    if (inside.length > 2 && inside.startsWith(" ") && inside.endsWith(" ")) inside = inside.slice(1, -1);
    this.add(make("code", {}, inside));
    return close + size;
  }

  closingTicks(from, size) {
    const name = `code${size}`;
    if (this.missing.has(name)) return -1;
    let at = this.text.indexOf("`", from);
    while (at >= 0) {
      const found = this.run(at);
      if (found === size) return at;
      at = this.text.indexOf("`", at + found);
    }
    this.missing.add(name);
    return -1;
  }

  dollar(at) {
    const { text } = this;
    if (text[at + 1] === "$") {
      const close = this.find("$$", at + 2);
      return this.verbatim(at, close < 0 ? at + 2 : close + 2);
    }
    if (!text[at + 1] || /\s/.test(text[at + 1])) return null;
    const close = this.find("$", at + 1);
    if (close < 0 || /\s/.test(text[close - 1]) || /\d/.test(text[close + 1] ?? "")) return null;
    return this.verbatim(at, close + 1);
  }

  emphasis(at) {
    const { text } = this;
    const mark = text[at];
    const run = this.run(at);
    const widths = mark === "~" ? [2] : [3, 2, 1];
    if (run > 3 || /\s/.test(text[at + run] ?? " ")) return null;
    if (mark === "_" && isWord(text[at - 1])) return null;
    for (const width of widths) {
      if (width > run) continue;
      const close = this.closing(mark, width, at + run);
      if (close < 0) continue;
      this.plain += mark.repeat(run - width);
      const inside = inline(text.slice(at + run, close), this.depth + 1);
      this.add(emphasised(mark, width, inside));
      return close + width;
    }
    return null;
  }

  closing(mark, width, from) {
    const name = mark.repeat(width);
    if (this.missing.has(name)) return -1;
    const { text } = this;
    let at = from;
    while (at < text.length) {
      if (text[at] === "\\") at += 2;
      else if (text[at] === "`") {
        const size = this.run(at);
        const close = this.closingTicks(at + size, size);
        at = close < 0 ? at + size : close + size;
      } else if (text[at] === mark) {
        const size = this.run(at);
        const fits = width === 1 ? size !== 2 : size >= width;
        const closes = fits && !/\s/.test(text[at - 1]) && !(mark === "_" && isWord(text[at + size]));
        if (closes) return width === 1 || size === width ? at + (size - width) : at;
        at += size;
      } else at += 1;
    }
    this.missing.add(name);
    return -1;
  }

  link(at) {
    const { text } = this;
    const label = this.closingBracket(at);
    if (label < 0 || text[label + 1] !== "(") return null;
    const end = closingParenthesis(text, label + 1);
    if (end < 0) return null;
    const inside = text.slice(label + 2, end).trim();
    const address = safe(inside.replace(/\s+["'(][^"']*["')]$/, "").replace(/^<(.*)>$/, "$1"));
    if (address === null) return null;
    this.add(anchor(address, inline(text.slice(at + 1, label), this.depth + 1)));
    return end + 1;
  }

  closingBracket(at) {
    const { text } = this;
    const last = Math.min(text.length, at + LONGEST_LABEL);
    let open = 0;
    for (let i = at; i < last; i += 1) {
      if (text[i] === "\\") i += 1;
      else if (text[i] === "[") open += 1;
      else if (text[i] === "]") {
        open -= 1;
        if (open === 0) return i;
      }
    }
    return -1;
  }

  pointed(at) {
    ADDRESS.lastIndex = at + 1;
    const match = ADDRESS.exec(this.text);
    if (!match || this.text[ADDRESS.lastIndex] !== ">") return null;
    const end = ADDRESS.lastIndex + 1;
    return this.linked(match[0]) ? end : null;
  }

  address(at) {
    ADDRESS.lastIndex = at;
    const match = ADDRESS.exec(this.text);
    if (!match) return null;
    let shown = match[0].replace(/[.,;:!?*_~'\]]{1,20}$/, "");
    if (shown.endsWith(")") && !shown.includes("(")) shown = shown.slice(0, -1);
    return this.linked(shown) ? at + shown.length : null;
  }

  linked(shown) {
    const address = safe(shown);
    if (address === null) return false;
    this.add(anchor(address, [document.createTextNode(shown)]));
    return true;
  }
}

const isWord = (character) => character !== undefined && /[\p{L}\p{N}_]/u.test(character);

function emphasised(mark, width, inside) {
  if (mark === "~") return make("del", {}, ...inside);
  if (width === 1) return make("em", {}, ...inside);
  const strong = make("strong", {}, ...inside);
  return width === 2 ? strong : make("em", {}, strong);
}

function closingParenthesis(text, at) {
  const last = Math.min(text.length, at + LONGEST_ADDRESS);
  let open = 0;
  for (let i = at; i < last && text[i] !== "\n"; i += 1) {
    if (text[i] === "(") open += 1;
    else if (text[i] === ")") {
      open -= 1;
      if (open === 0) return i;
    }
  }
  return -1;
}

/** Return an address that a link may have: of a web page, written out in full. Null for any other. */
function safe(address) {
  if (address.length > LONGEST_ADDRESS || /\s/.test(address)) return null;
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Make a link whose target can be seen: a label may say anything. */
function anchor(address, label) {
  const link = make("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, ...label);
  const shown = link.textContent;
  if (shown === address || `${shown}/` === address) return link;
  return make("span", {}, link, make("span", { className: "target" }, ` (${address})`));
}
