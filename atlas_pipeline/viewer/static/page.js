// Helpers for the page: elements, notices, and announcements for screen readers.

export const byId = (id) => document.getElementById(id);

/** A new element with properties and children; strings become text, never markup. */
export const element = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

let noticeTimer = 0;

/** Show a line that disappears by itself. */
export const notice = (words, seconds = 6) => {
  clearTimeout(noticeTimer);
  byId("notice").textContent = words;
  byId("notice").hidden = false;
  noticeTimer = setTimeout(() => (byId("notice").hidden = true), seconds * 1000);
};
export const warn = (words) => notice(words, 15);

/** Announce words to screen readers. */
export const say = (words) => (byId("said").textContent = words);

/** A value that an earlier visit remembered by name; null if there is none, or the browser keeps nothing. */
export const remembered = (name) => {
  try {
    return localStorage.getItem(`atlas-${name}`);
  } catch {
    return null;
  }
};

/** Remember a value for later visits, if the browser allows it. */
export const remember = (name, value) => {
  try {
    localStorage.setItem(`atlas-${name}`, value);
  } catch {
    // Some browsers keep nothing for pages at file://.
  }
};

/** Open or close the options, which on a phone are hidden at first. */
export function showSide(on) {
  document.body.classList.toggle("side-open", on);
  byId("open-side").setAttribute("aria-expanded", String(on));
}
