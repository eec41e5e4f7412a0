"use strict";
// The answers browser. Everything a model wrote reaches the page through textContent alone.
(() => {
  const TIE = 0.05;
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const list = $("list"), detail = $("detail"), search = $("search");
  const radios = [...document.querySelectorAll("input[name=filter]")];
  let rows = [], selected = -1;

  const element = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };
  const percent = (value) => (value === null ? "–" : `${Math.round(100 * value)}%`);
  const outcome = (before, after) => {
    if (before === null || after === null) return "unjudged";
    return Math.abs(after - before) < TIE ? "tie" : after > before ? "win" : "loss";
  };
  const LABELS = { win: "+ ExPO better", loss: "original better", tie: "tie", unjudged: "not judged" };

  function load(index) {
    rows = data.families[index].rows.map(([item, original, expo, before, after], number) => {
      const [instruction, reference] = data.items[item];
      const text = `${instruction}\n${original}\n${expo}`.toLowerCase();
      return { number, instruction, reference, original, expo, before, after, text, outcome: outcome(before, after) };
    });
    for (const count of document.querySelectorAll("[data-count]")) {
      const kind = count.dataset.count;
      count.textContent = kind === "all" ? rows.length : rows.filter((row) => row.outcome === kind).length;
    }
    for (const row of rows) {
      const short = row.instruction.length > 300 ? `${row.instruction.slice(0, 300)}…` : row.instruction;
      row.node = element("li", row.outcome,
        element("span", "n muted", String(row.number + 1)), element("span", "clip", short),
        element("span", "n", `${percent(row.before)} → ${percent(row.after)}`),
        element("span", "tag", LABELS[row.outcome]));
      row.node.role = "option";
      row.node.addEventListener("click", () => select(row.number));
    }
    list.replaceChildren(...rows.map((row) => row.node));
    selected = -1;
    refresh();
  }

  function refresh() {
    const kind = radios.find((radio) => radio.checked).value;
    const wanted = search.value.trim().toLowerCase();
    for (const row of rows) {
      row.node.hidden = !((kind === "all" || row.outcome === kind) && row.text.includes(wanted));
    }
    const visible = rows.filter((row) => !row.node.hidden);
    $("none").hidden = visible.length > 0;
    detail.hidden = visible.length === 0;
    if (visible.length && !visible.some((row) => row.number === selected)) select(visible[0].number);
  }

  function select(number) {
    rows[selected]?.node.setAttribute("aria-selected", "false");
    selected = number;
    const row = rows[number];
    row.node.setAttribute("aria-selected", "true");
    const answer = (name, className, text, value) => element("section", `answer ${className}`,
      element("h4", "", name, element("span", "n size", `${text.length.toLocaleString("en")} characters`),
        element("span", "n", value === undefined ? "" : percent(value))),
      text ? element("div", "text", text) : element("div", "text muted", "empty"));
    detail.replaceChildren(
      element("h3", "", element("span", "tag " + row.outcome, LABELS[row.outcome]), " Instruction " + (number + 1)),
      element("div", "text instruction", row.instruction),
      element("div", "columns",
        answer("original", "original", row.original, row.before), answer("+ ExPO", "expo", row.expo, row.after),
        answer("reference", "reference", row.reference)));
  }

  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const visible = rows.filter((row) => !row.node.hidden);
    const next = visible[visible.findIndex((row) => row.number === selected) + step];
    if (next) { select(next.number); next.node.scrollIntoView({ block: "nearest" }); }
  });
  for (const radio of radios) radio.addEventListener("change", refresh);
  search.addEventListener("input", refresh);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  $("family").addEventListener("change", (event) => load(Number(event.target.value)));
  load(0);
})();
