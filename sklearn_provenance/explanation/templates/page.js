// Writes numbers and fixed words, copies text of the page as text and parts of it as they are, and
// makes no HTML out of text.
(() => {
  "use strict";
  const controls = document.querySelector("main > fieldset");
  const list = document.getElementById("cards");
  controls.disabled = false;
  document.documentElement.classList.add("scripted");
  if (!list) return;
  const cards = [...list.children];
  const form = document.querySelector("form");
  const served = document.getElementById("served");
  let chosen = null; // number of the training row whose queries are shown

  const make = (name, text, className = "") => {
    const element = document.createElement(name);
    element.textContent = text;
    element.className = className;
    return element;
  };
  const copy = (picture) => {
    const copied = picture.cloneNode(true);
    copied.setAttribute("aria-hidden", "true"); // the text beside it says what it is
    return copied;
  };
  const headingOf = (card) => card.querySelector("h3").textContent.trim();

  // Which queries a training row serves.
  let cardsOfRows = null;
  const servedBy = (row) => {
    if (!cardsOfRows) {
      cardsOfRows = new Map();
      for (const button of list.querySelectorAll("button[value]")) {
        if (!cardsOfRows.has(button.value)) cardsOfRows.set(button.value, new Set());
        cardsOfRows.get(button.value).add(button.closest("article"));
      }
    }
    return cardsOfRows.get(row) || new Set();
  };
  const count = (row) => {
    const n = servedBy(row).size;
    return "an exemplar of " + n + " of " + cards.length + (cards.length === 1 ? " query" : " queries");
  };

  const choice = (name) => form && form.elements[name] ? form.elements[name].value : "all";
  const update = () => {
    let shown = 0;
    const kind = choice("show"), label = choice("label");
    const wanted = chosen === null ? null : servedBy(chosen);
    for (const card of cards) {
      card.hidden = !(kind === "all" || card.classList.contains(kind))
        || !(label === "all" || card.dataset.label === label)
        || !(wanted === null || wanted.has(card));
      shown += card.hidden ? 0 : 1;
    }
    if (!form) return;
    form.querySelector("output").value = shown + " of " + cards.length + " shown";
  };
  const sort = () => {
    const key = choice("sort");
    if (key !== "all") list.append(...cards.sort((a, b) => Number(a.dataset[key]) - Number(b.dataset[key])));
    update();
  };

  // Choose a training row, null for none: show the queries that it serves.
  const choose = (row, button = null) => {
    for (const other of document.querySelectorAll("button[aria-pressed]")) {
      other.removeAttribute("aria-pressed");
      other.closest("li, tr").classList.remove("chosen");
    }
    chosen = row;
    served.replaceChildren();
    if (row !== null) {
      if (form) for (const name of ["show", "label"]) if (form.elements[name]) form.elements[name].value = "all";
      const same = document.querySelectorAll('button[value="' + Number(row) + '"]');
      for (const other of same) {
        other.setAttribute("aria-pressed", "true");
        other.closest("li, tr").classList.add("chosen");
      }
      const picture = same.length && same[0].closest("li, tr").querySelector(".picture");
      if (picture) served.append(copy(picture));
      served.append(make("span", "Training row " + Number(row) + " is " + count(row) + " on this page."));
      const all = make("button", "Show all queries");
      all.type = "button";
      all.addEventListener("click", () => choose(null, button));
      served.append(all);
    }
    update();
    if (button && button.isConnected) {
      button.focus({preventScroll: true});
      button.scrollIntoView({block: "center"});
    }
  };
  const leadTo = (card) => {
    if (card.hidden) {
      if (form) form.reset();
      choose(null);
    }
    card.tabIndex = -1;
    card.scrollIntoView({block: "start"});
    card.focus({preventScroll: true});
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    const target = link && document.getElementById(link.hash.slice(1));
    if (target && cards.includes(target)) {
      event.preventDefault();
      leadTo(target);
      return;
    }
    if (link || event.target.closest("select, summary")) return;
    const line = event.target.closest("li, tbody tr");
    const button = event.target.closest("button[value]") || (line && line.querySelector("button[value]"));
    if (!button || (getSelection().toString() && !event.target.closest("button"))) return;
    const row = button.value === chosen ? null : button.value;
    choose(row, list.contains(button) || row === null ? button : null);
    if (row !== null && !list.contains(button)) served.scrollIntoView({block: "start"});
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || chosen === null) return;
    choose(null, list.contains(document.activeElement) ? document.activeElement : null);
  });
  if (form) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", (event) => event.target.name === "sort" ? sort() : update());
    window.addEventListener("pageshow", sort);
  }

  // The map.
  const map = document.querySelector("#map > svg");
  if (!map) return;
  const here = document.getElementById("here");
  const marker = map.querySelector("circle");
  const lines = map.querySelector(".lines");
  const points = [];
  const ofRows = new Map(), ofCards = new Map();
  for (const path of map.querySelectorAll("[data-numbers]")) {
    const places = path.getAttribute("d").match(/\d+/g) || []; // x, y, 0, x, y, 0, ...
    path.dataset.numbers.split(" ").forEach((number, i) => {
      const isQuery = path.classList.contains("queries");
      const point = {x: Number(places[3 * i]), y: Number(places[3 * i + 1]), number, isQuery};
      if (isQuery) point.card = document.getElementById("q" + number);
      points.push(point);
      if (isQuery) ofCards.set(point.card, point); else ofRows.set(number, point);
    });
  }
  map.tabIndex = 0;
  map.setAttribute("role", "application");
  map.setAttribute("aria-roledescription", "map");
  let current = null;
  const describe = (point) => {
    const picture = point.isQuery
      ? point.card.querySelector("figure .picture")
      : list.querySelector('li:has(> button[value="' + point.number + '"]) .picture');
    const text = point.isQuery ? headingOf(point.card) : "Training row " + point.number + ", " + count(point.number);
    here.replaceChildren(...(picture ? [copy(picture)] : []), make("span", text));
  };
  const goTo = (point) => {
    current = point;
    marker.toggleAttribute("hidden", point === null);
    if (point === null) {
      here.replaceChildren();
      lines.setAttribute("d", "");
      return;
    }
    marker.setAttribute("cx", point.x);
    marker.setAttribute("cy", point.y);
    const partners = point.isQuery
      ? [...point.card.querySelectorAll("button[value]")].map((button) => ofRows.get(button.value))
      : [...servedBy(point.number)].map((card) => ofCards.get(card));
    lines.setAttribute("d", partners.filter(Boolean)
      .map((other) => "M" + point.x + " " + point.y + "L" + other.x + " " + other.y).join(""));
    describe(point);
  };
  const open = (point) => {
    if (point.isQuery) leadTo(point.card);
    else {
      choose(point.number);
      served.scrollIntoView({block: "start"});
    }
  };
  const nearest = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    const reach = 24 / map.getScreenCTM().a; // pixels of the screen
    let best = null, least = reach;
    for (const point of points) {
      const distance = Math.hypot(point.x - place.x, point.y - place.y);
      if (distance <= least) [best, least] = [point, distance]; // the later point lies on top
    }
    return best;
  };
  map.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    if (point && point !== current) goTo(point);
  });
  map.addEventListener("click", (event) => {
    const point = nearest(event);
    if (!point) return;
    goTo(point);
    open(point);
  });
  map.addEventListener("focus", () => {
    if (current === null && map.matches(":focus-visible")) goTo(points[points.length - 1]);
  });
  const STEPS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  map.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (current) open(current);
    }
    const step = STEPS[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (!current) return goTo(points[points.length - 1]);
    // The nearest point in this direction; what lies aside counts as farther.
    let best = null, least = Infinity;
    for (const point of points) {
      const [dx, dy] = [point.x - current.x, point.y - current.y];
      const ahead = dx * step[0] + dy * step[1];
      const aside = Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
      if (ahead > 0 && aside <= 2 * ahead && ahead + 2 * aside < least) [best, least] = [point, ahead + 2 * aside];
    }
    if (best) goTo(best);
  });
})();
