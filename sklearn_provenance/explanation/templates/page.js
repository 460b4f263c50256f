// Reads numbers and fixed words from the page, never text of the data, and writes no HTML.
(() => {
  "use strict";
  const form = document.querySelector("form");
  if (!form) return;
  const list = document.getElementById("cards");
  const cards = [...list.children];
  const choice = (name) => form.elements[name] ? form.elements[name].value : "all";
  const update = () => {
    let shown = 0;
    for (const card of cards) {
      const kind = choice("show"), label = choice("label");
      card.hidden = !(kind === "all" || card.classList.contains(kind))
        || !(label === "all" || card.dataset.label === label);
      shown += card.hidden ? 0 : 1;
    }
    const key = choice("sort");
    list.append(...cards.sort((a, b) => Number(a.dataset[key]) - Number(b.dataset[key])));
    form.querySelector("output").value = shown + " of " + cards.length + " shown";
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", update);
  window.addEventListener("pageshow", update);
})();
