// A text field with a list of options that narrows during typing (ARIA combobox), and the class field.

import { gridShown, numberWords } from "./cells.js";
import { lightClass } from "./lit.js";
import { byId, element } from "./page.js";
import { onChange, set, state, viewShown } from "./state.js";

const MAX_SHOWN = 60;

/**
 * Turn an input and a list into a combobox: {input, list, find, choose}. find(text, isTyped) returns
 * [{words, beside?, value, isChosen?, isHeading?}] or a promise of it. An option without a value cannot be chosen.
 * choose(value) is called with the chosen option's value.
 */
export const choiceField = ({ input, list, find, choose }) => {
  let shown = [],
    active = -1,
    asked = 0,
    isTyped = false; // whether the user typed since the field got the focus; else it shows the last choice

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  function activate(number) {
    active = number;
    [...list.children].forEach((item, at) => item.setAttribute("aria-selected", String(at === active)));
    const item = list.children[active];
    if (!item) return void input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  }

  function take(number) {
    const option = shown[number];
    close();
    if (option && option.value !== undefined) choose(option.value);
  }

  async function open() {
    const turn = ++asked,
      text = input.value.trim(),
      isAsked = isTyped && text !== "";
    const found = await find(text, isTyped);
    // A later key press has started another search.
    if (turn !== asked) return;
    shown = found.slice(0, MAX_SHOWN);
    const rest = found.length - shown.length;
    if (rest > 0) shown.push({ words: `and ${numberWords(rest)} more: type on` });
    if (!found.length) shown.push({ words: "Nothing by this name" });
    list.replaceChildren(
      ...shown.map(({ words, beside, value }, at) =>
        element(
          "li",
          {
            id: `${list.id}-${at}`,
            role: "option",
            "aria-selected": "false",
            "aria-disabled": String(value === undefined),
            onpointerdown: (event) => event.preventDefault(),
            onclick: () => take(at),
          },
          element("bdi", { textContent: words }),
          beside ? element("small", { textContent: beside }) : null,
        ),
      ),
    );
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    for (const [at, { isHeading }] of shown.entries()) list.children[at].classList.toggle("heading", Boolean(isHeading));
    // Enter takes the first match of typed text. Without text, it takes the option that is already chosen.
    const first = shown.findIndex(({ value }) => value !== undefined);
    activate(isAsked ? first : shown.findIndex(({ isChosen }) => isChosen));
  }

  input.addEventListener("input", () => {
    isTyped = true;
    open();
  });
  input.addEventListener("focus", () => {
    isTyped = false;
    input.select();
    open();
  });
  input.addEventListener("click", open);
  input.addEventListener("blur", () => {
    asked++;
    close();
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      if (list.hidden) return void open();
      activate((Math.max(active, step < 0 ? 0 : -1) + step + shown.length) % shown.length);
    } else if (event.key === "Enter" && !list.hidden) {
      event.preventDefault();
      if (active >= 0) take(active);
    } else if (event.key === "Escape") {
      close();
    }
  });
};

/** The options {words, ...} whose words contain the text, with those that begin with it first. */
export const matching = (options, text) => {
  const wanted = text.toLowerCase();
  const ranked = [];
  options.forEach((option, order) => {
    const at = option.words.toLowerCase().indexOf(wanted);
    if (at >= 0) ranked.push({ option, rank: at === 0 ? 0 : 1, order });
  });
  return ranked.sort((a, b) => a.rank - b.rank || a.order - b.order).map(({ option }) => option);
};

/** The classes of the shown grid as options; classes with equal names show their logit index. */
function classes() {
  const grid = gridShown();
  return (grid?.classes ?? []).map((words, column) => {
    const isAmbiguous = grid.classes.indexOf(words) !== grid.classes.lastIndexOf(words);
    return {
      words,
      value: grid.classIndices[column],
      beside: isAmbiguous ? `class ${grid.classIndices[column]}` : "",
      isChosen: String(grid.classIndices[column]) === state.lit,
    };
  });
}

export function showClass() {
  const { lit } = state,
    grid = gridShown();
  const hasClasses = Boolean(grid?.classes.length);
  byId("class-section").hidden = !viewShown().grids.length || (grid !== null && !hasClasses);
  if (!hasClasses) return;
  const column = lit === "" ? -1 : grid.classIndices.indexOf(Number(lit));
  if (document.activeElement !== byId("class")) byId("class").value = column < 0 ? "" : grid.classes[column];
  byId("class-clear").hidden = byId("class-how").hidden = column < 0;
}

export const startClasses = () => {
  choiceField({
    input: byId("class"),
    list: byId("class-list"),
    // Do not filter by the name of the highlighted class, which the field shows before anything is typed.
    find: (text, isTyped) => matching(classes(), isTyped ? text : ""),
    choose: (index) => {
      byId("class").blur();
      lightClass(String(index));
    },
  });
  byId("class").addEventListener("blur", showClass);
  byId("class-clear").onclick = () => set({ lit: "" });
  onChange(showClass);
};
