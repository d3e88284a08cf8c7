"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const EAGER = 50000; // options on the page that are made at once; more of them when a row is come to
const NUMBER = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i;
const articles = [...document.querySelectorAll("article")];
const save = document.getElementById("save");
const box = (article) => article.querySelector("input[type=checkbox]");
const field = (article) => article.querySelector("select, input:not([type=checkbox])");
const cells = (article) => data.rows[Number(article.dataset.row)];
let unsaved = false;

function option(value, name, selected) {
  const made = document.createElement("option");
  made.value = value;
  made.textContent = name;
  made.selected = selected;
  return made;
}
function fill(select, given, all) {
  const chosen = new Set([...select.selectedOptions].map((one) => one.value));
  if (!select.options.length) given.forEach((name) => chosen.add(String(data.classes.indexOf(name))));
  const places = [...data.classes.keys()].filter((place) => all || chosen.has(String(place)));
  const made = places.map((place) => option(place, data.names[place], chosen.has(String(place))));
  if (data.kind === "class") made.push(option("", "not sure", chosen.has("")));
  select.replaceChildren(...made);
}
function start(article) {
  const chosen = field(article);
  if (!chosen) return;
  const given = cells(article)[data.label];
  if (data.kind === "number") {
    chosen.value = given;
  } else {
    const all = data.classes.length * data.rows.length <= EAGER;
    fill(chosen, data.kind === "several" ? given.split(";") : [given], all);
    if (!all) {
      const later = () => fill(chosen, [], true);
      ["focus", "pointerdown"].forEach((event) => chosen.addEventListener(event, later, { once: true }));
    }
  }
  chosen.addEventListener("change", () => { box(article).checked = true; changed(); });
}
// The label of a row as it is chosen; null: nobody is sure of it
function label(article) {
  const chosen = field(article);
  if (!chosen) return "";
  if (data.kind === "several") return [...chosen.selectedOptions].map((one) => data.classes[one.value]).join(";");
  if (data.kind === "class") return chosen.value === "" ? null : data.classes[chosen.value];
  return chosen.value === cells(article)[data.label] || NUMBER.test(chosen.value) ? chosen.value.trim() : null;
}
const checked = () => articles.filter((article) => box(article).checked);
const sure = () => checked().filter((article) => label(article) !== null);
function count() {
  articles.forEach((article) => article.classList.toggle("done", box(article).checked));
  const unsure = checked().length - sure().length;
  const left = unsure ? `, ${unsure} of them not sure and left out` : "";
  document.getElementById("progress").textContent = `${checked().length} of ${articles.length} checked${left}`;
  save.disabled = !sure().length;
}
function changed() {
  unsaved = true;
  count();
}
const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
function csv() {
  const rows = sure().map((article) =>
    cells(article).map((cell, place) => (place === data.label ? label(article) : cell)));
  return [data.header, ...rows].map((row) => row.map(quoted).join(",") + "\n").join("");
}
articles.forEach((article) => {
  start(article);
  box(article).addEventListener("change", changed);
});
save.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = data.file;
  link.click();
  unsaved = false;
});
// Enter: as it stands; digits: the class of that place, 0 nobody is sure; each is one row checked, and on
function go(place) {
  const article = articles[Math.min(Math.max(place, 0), articles.length - 1)];
  const chosen = field(article);
  (chosen && chosen.tagName === "INPUT" ? chosen : box(article)).focus({ preventScroll: true });
  article.scrollIntoView({ block: "center" });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target === save) return;
  const place = articles.indexOf(event.target.closest("article"));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && event.target.tagName !== "SELECT") {
    event.preventDefault();
    go(place < 0 ? 0 : place + step);
  }
  if (place < 0) return;
  const article = articles[place], chosen = field(article);
  if (data.kind === "class" && /^[0-9]$/.test(event.key)) {
    const value = event.key === "0" ? "" : String(event.key - 1);
    if (value !== "" && value >= data.classes.length) return;
    if (![...chosen.options].some((one) => one.value === value)) fill(chosen, [], true);
    chosen.value = value;
  } else if (event.key !== "Enter") {
    return;
  }
  event.preventDefault();
  box(article).checked = true;
  changed();
  go(place + 1);
});
window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
count();
