"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // light and dark: the system's choice until the button says otherwise
  const system = matchMedia("(prefers-color-scheme: dark)");
  const theme = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const say = () => { theme.querySelector("[data-label]").textContent = isDark() ? "Light" : "Dark"; };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; say(); });
  system.addEventListener("change", say);
  say();

  // tables: a heading sorts upwards, then downwards; cells without a value stay last
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const keyed = [...body.rows].map((row) => [row.cells[column].dataset.value, row]);
        keyed.sort(([a], [b]) => (a === "") - (b === "") || (up ? a - b : b - a));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // suspects: a page of rows at a time, those with the text that is searched
  const finder = document.getElementById("finder");
  if (finder) {
    const { columns, rows, pictures } = JSON.parse(document.getElementById("rows").textContent);
    const [find, only, status] = ["#find", "#only", "[role=status]"].map((name) => finder.querySelector(name));
    const made = (tag, about, ...inside) => {
      const element = Object.assign(document.createElement(tag), about);
      element.append(...inside);
      return element;
    };
    const size = 25;
    let first = 0;
    const texts = rows.map((row) => row.slice(1).join("\n").toLowerCase());
    const names = columns.map((name) => name.replaceAll("_", " "));
    if (!rows.some((row) => row[0])) only.checked = false;
    finder.querySelector("thead tr").append(
      ...(pictures.length ? ["picture", ...names] : names).map((name) => made("th", { textContent: name, scope: "col" })));
    const cell = (text, column) => {
      const one = made("td", { dir: "auto" }, text);
      one.dataset.name = column;
      return one;
    };
    const picture = (at) => {
      const alt = `picture of row ${at + 1}`;
      return cell(pictures[at] ? made("img", { src: pictures[at], alt }) : "", "");
    };
    const draw = () => {
      const wanted = find.value.trim().toLowerCase();
      const found = [...rows.keys()].filter((at) => (!only.checked || rows[at][0]) && texts[at].includes(wanted));
      first = Math.min(first, Math.max(0, Math.floor((found.length - 1) / size) * size));
      finder.querySelector("tbody").replaceChildren(...found.slice(first, first + size).map((at) => {
        const [suspect, ...cells] = rows[at];
        const line = made("tr", { className: suspect ? "suspect" : "" });
        if (pictures.length) line.append(picture(at));
        line.append(...cells.map((text, number) => cell(text, names[number])));
        return line;
      }));
      const count = (number) => number.toLocaleString("en");
      status.textContent = found.length ? `${count(first + 1)} to ${count(Math.min(first + size, found.length))} of ${count(found.length)}` : "no such row";
      for (const button of all("[data-step]", finder)) {
        const next = first + size * Number(button.dataset.step);
        button.disabled = next < 0 || next >= found.length;
      }
    };
    for (const button of all("[data-step]", finder)) {
      button.addEventListener("click", () => { first += size * Number(button.dataset.step); draw(); });
    }
    for (const input of [find, only]) input.addEventListener("input", () => { first = 0; draw(); });
    draw();
  }

  // legends: one set of arms for the whole page
  const hidden = new Set();
  const showArms = () => {
    for (const button of all("[data-legend] button")) {
      button.setAttribute("aria-pressed", String(!hidden.has(button.dataset.arm)));
    }
    for (const mark of all("g.arm")) mark.classList.toggle("off", hidden.has(mark.dataset.arm));
  };
  for (const button of all("[data-legend] button")) {
    const arm = button.dataset.arm;
    button.addEventListener("click", () => {
      if (!hidden.delete(arm)) hidden.add(arm);
      showArms();
    });
    const light = (on) => () => {
      for (const mark of all("g.arm")) {
        mark.classList.toggle("faint", on && mark.dataset.arm !== arm);
        mark.classList.toggle("lit", on && mark.dataset.arm === arm);
      }
    };
    button.addEventListener("pointerenter", light(true));
    button.addEventListener("pointerleave", light(false));
    button.addEventListener("focus", light(true));
    button.addEventListener("blur", light(false));
  }

  // curves: the values of the epoch under the pointer, the largest first
  for (const figure of all("[data-curves]")) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const stage = figure.querySelector(".stage");
    const cursor = figure.querySelector(".cursor");
    const readout = figure.querySelector(".readout");
    const count = data.epochs.length;
    const low = data.epochs[0], high = data.epochs[count - 1];
    const share = (epoch) => data.left + (data.right - data.left) * (high > low ? (epoch - low) / (high - low) : 0.5);
    let at = -1;
    const show = (position) => {
      at = Math.max(0, Math.min(count - 1, position));
      const epoch = data.epochs[at];
      cursor.hidden = false;
      cursor.style.left = `${100 * share(epoch)}%`;
      const known = data.arms.filter((arm) => arm.values[at] !== null && !hidden.has(String(arm.style)));
      known.sort((a, b) => b.values[at] - a.values[at]);
      const parts = known.map((arm) => {
        const part = document.createElement("span");
        part.className = `s${arm.colour}`;
        const dot = document.createElement("i");
        const value = document.createElement("b");
        value.textContent = arm.values[at];
        part.append(dot, `${arm.name} `, value);
        return part;
      });
      readout.replaceChildren(`epoch ${epoch}`, ...parts);
    };
    const clear = () => { at = -1; cursor.hidden = true; readout.replaceChildren(); };
    if (!count) continue;
    stage.addEventListener("pointermove", (event) => {
      const box = stage.getBoundingClientRect();
      const where = (event.clientX - box.left) / box.width;
      const distances = data.epochs.map((epoch) => Math.abs(share(epoch) - where));
      show(distances.indexOf(Math.min(...distances)));
    });
    stage.addEventListener("pointerleave", clear);
    stage.addEventListener("blur", clear);
    stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      show(at < 0 ? (step > 0 ? 0 : count - 1) : at + step);
    });
  }

  // gallery: one arm at a time
  const pick = document.getElementById("wall");
  if (pick) {
    const showWall = () => { for (const wall of all(".wall")) wall.hidden = wall.dataset.wall !== pick.value; };
    pick.addEventListener("change", showWall);
    showWall();
  }
})();
