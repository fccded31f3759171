// Makes elements. Text is always set as text: nothing here reads HTML.

const LONG_MS = 8; // half a frame

/**
 * Make an element. `properties` are set on it (`aria-...` and the like as attributes); children are nodes or texts, and what
 * is null or false is left out.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  // First, as an element whose direction is found in its text looks for it again with each child.
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  return element;
}

/** Find the element with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Call `draw` at most once a frame, however often the function that is returned is called, and less often if it takes
 * long: three quarters of the time are left for the reader's own doings.
 */
export function framed(draw) {
  let asked = false;
  let resting = false;
  const next = () => {
    if (!asked || resting) return;
    requestAnimationFrame(() => {
      asked = false;
      const began = performance.now();
      draw();
      const took = performance.now() - began;
      if (took < LONG_MS) return;
      resting = true;
      setTimeout(() => {
        resting = false;
        next();
      }, 3 * took);
    });
  };
  return () => {
    if (asked) return;
    asked = true;
    next();
  };
}

/** Keep a value in this tab, and say whether there was room for it. */
export function keep(key, value) {
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
    return true;
  } catch {
    return false; // full, or forbidden by the browser's settings
  }
}

/** Read what was kept in this tab; null if nothing was. */
export function recall(key) {
  try {
    return sessionStorage.getItem(key);
  } catch {
    return null;
  }
}
