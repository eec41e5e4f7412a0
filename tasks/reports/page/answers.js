"use strict";
// The answers browser. Everything a model wrote reaches the page through textContent alone.
(() => {
  const SCALES = {
    preference: { tie: 0.05, write: (value) => `${Math.round(100 * value)}%` },
    rating: { tie: 0.25, write: (value) => String(Math.round(100 * value) / 100) },
    verified: { tie: 0.5, write: (value) => (value > 0.5 ? "right" : "wrong") },
  };
  const data = JSON.parse(document.getElementById("data").textContent);
  const [FIRST, SECOND] = data.names;
  const LABELS = { win: `${SECOND} better`, loss: `${FIRST} better`, tie: "tie", unjudged: "not judged" };
  const $ = (id) => document.getElementById(id);
  const list = $("list"), detail = $("detail"), search = $("search");
  const radios = [...document.querySelectorAll("input[name=filter]")];
  let rows = [], selected = -1, scale = SCALES.preference;

  const element = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };
  const figure = (value) => (value === null ? "–" : scale.write(value));
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
  const outcome = (before, after) => {
    if (before === null || after === null) return "unjudged";
    return Math.abs(after - before) < scale.tie ? "tie" : after > before ? "win" : "loss";
  };

  function read([item, answers], number) {
    const [label, asked] = data.items[item];
    const turns = answers.map(([original, expo, before, after, beforeWords, afterWords], turn) => {
      const [question, reference] = asked[turn];
      return { question, reference, original, expo, before, after, beforeWords, afterWords };
    });
    const rated = turns.filter((turn) => turn.before !== null && turn.after !== null);
    const single = turns.length === 1;
    const before = single ? turns[0].before : mean(rated.map((turn) => turn.before));
    const after = single ? turns[0].after : mean(rated.map((turn) => turn.after));
    const text = turns.flatMap((turn) => [turn.question, turn.original, turn.expo]).join("\n").toLowerCase();
    return { number, label: label || `Instruction ${number + 1}`, turns, before, after, text, outcome: outcome(before, after) };
  }

  function line(row) {
    const first = row.turns[0].question;
    const node = element("li", row.outcome,
      element("span", "n muted", String(row.number + 1)),
      element("span", "clip", first.length > 300 ? `${first.slice(0, 300)}…` : first),
      element("span", "n", `${figure(row.before)} → ${figure(row.after)}`),
      element("span", "tag", LABELS[row.outcome]));
    node.role = "option";
    node.addEventListener("click", () => select(row.number));
    return node;
  }

  function load(index) {
    scale = SCALES[data.sets[index].scale];
    rows = data.sets[index].rows.map(read);
    for (const count of document.querySelectorAll("[data-count]")) {
      const kind = count.dataset.count;
      count.textContent = kind === "all" ? rows.length : rows.filter((row) => row.outcome === kind).length;
    }
    for (const row of rows) row.node = line(row);
    list.replaceChildren(...rows.map((row) => row.node));
    list.scrollTop = 0;
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

  function answer(name, className, text, value, words) {
    const node = element("section", `answer ${className}`,
      element("h4", "", name, element("span", "n size", `${text.length.toLocaleString("en")} characters`),
        element("span", "n", value === undefined ? "" : figure(value))),
      text ? element("div", "text", text) : element("div", "text muted", "empty"));
    if (words) node.append(element("details", "words", element("summary", "", "the judge's words"), element("div", "text", words)));
    return node;
  }

  function select(number) {
    rows[selected]?.node.setAttribute("aria-selected", "false");
    selected = number;
    const row = rows[number];
    row.node.setAttribute("aria-selected", "true");
    const shown = row.turns.flatMap((turn, index) => {
      const columns = element("div", "columns",
        answer(FIRST, "original", turn.original, turn.before, turn.beforeWords),
        answer(SECOND, "expo", turn.expo, turn.after, turn.afterWords));
      if (turn.reference || row.turns.length === 1) columns.append(answer("reference", "reference", turn.reference));
      const heading = row.turns.length > 1 ? [element("h4", "turn", `Turn ${index + 1}`)] : [];
      return [...heading, element("div", "text instruction", turn.question), columns];
    });
    detail.replaceChildren(
      element("h3", "", element("span", "tag " + row.outcome, LABELS[row.outcome]), " " + row.label), ...shown);
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
  $("set").addEventListener("change", (event) => load(Number(event.target.value)));
  load(0);
})();
