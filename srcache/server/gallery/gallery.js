// The gallery: images chosen by filters, shown by the slider, beside a page of thumbnails. A server is asked for each
// page; a file holds all that it shows, and says for each image which options it has.
(() => {
  "use strict";
  const find = (selector) => document.querySelector(selector);
  const data = JSON.parse(document.getElementById("gallery-data").textContent);
  const { element, clamp, image, makeStage } = slider;
  const order = Object.keys(data.kinds);
  const stage = makeStage(find(".stage"), data.kinds);
  const selects = [...document.querySelectorAll("[data-choose]")];
  const state = { start: 0, total: 0, items: [], at: 0, asked: 0 };

  // Where images come from: { total, items } for what is chosen, from a start on

  function chosen() {
    const numbers = Object.fromEntries(selects.map((select) => [select.dataset.choose, Number(select.value)]));
    return { numbers, words: find("#words").value.trim() };
  }

  async function fromFile({ numbers, words }, start) {
    const low = words.toLowerCase();
    const fits = (item) => item.title.toLowerCase().includes(low)
      && selects.every(({ dataset: { choose: key } }) => key === "order" || !numbers[key] || item.options[key]?.includes(numbers[key]));
    const places = data.orders[numbers.order].filter((at) => fits(data.items[at]));
    return { total: places.length, items: places.slice(start, start + data.page).map((at) => data.items[at]) };
  }

  async function fromServer({ numbers, words }, start) {
    const query = new URLSearchParams({ ...numbers, words, start, generation: data.generation });
    const response = await fetch(`images?${query}`, { cache: "no-store", credentials: "omit", redirect: "error" });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error.message);
    return answer;
  }

  const ask = data.items ? fromFile : fromServer;

  // Load the page of thumbnails that begins at `start`, and show its image number `at`.
  async function load(start, at = 0) {
    const number = ++state.asked;
    let answer;
    try {
      answer = await ask(chosen(), start);
    } catch (error) {
      if (number === state.asked) complain(error instanceof TypeError ? "srcache does not answer; was it ended?" : error.message);
      return;
    }
    if (number !== state.asked) return; // something else was chosen meanwhile
    complain("");
    Object.assign(state, { start, total: answer.total, items: answer.items });
    for (const item of state.items) if (item.images.lr) item.images.lr.pixelated = true; // its pixels are the point
    strip();
    show(clamp(at, 0, Math.max(0, state.items.length - 1)));
  }

  function complain(words) {
    find("#problem").textContent = words;
    find("#problem").hidden = !words;
  }

  function strip() {
    const buttons = state.items.map((item, at) => {
      const button = element("button", item.state ? "bad" : "");
      button.type = "button";
      button.title = item.title;
      button.addEventListener("click", () => show(at));
      if (item.thumb && !item.state) {
        const made = element("img");
        made.alt = item.title;
        made.loading = "lazy";
        made.draggable = false;
        made.addEventListener("error", () => mark(button, item, "cannot be shown"));
        made.src = item.thumb;
        button.append(made);
      } else {
        mark(button, item, item.state || "cannot be shown");
      }
      const entry = element("li");
      entry.append(button);
      return entry;
    });
    find(".strip").replaceChildren(...buttons);
    const last = state.start + state.items.length;
    const of = state.total === data.total ? "" : ` of ${data.total}`;
    const below = state.total > state.items.length ? `, ${state.start + 1} to ${last} shown` : "";
    const nothing = data.total ? "No image fits this choice." : "There are no images yet; srcache build makes them.";
    find(".count").textContent = state.total ? `${state.total}${of} images${below}.` : nothing;
    find("#all").hidden = Boolean(state.total) || !data.total;
    find(".shown").hidden = !state.total;
    find(".paging").hidden = state.total <= data.page;
    find('[data-page="first"]').disabled = find('[data-page="earlier"]').disabled = state.start === 0;
    find('[data-page="later"]').disabled = last >= state.total;
  }

  function mark(button, item, word) {
    button.classList.add("bad");
    const words = element("span", "", word);
    button.replaceChildren(words);
    button.setAttribute("aria-label", `${item.title}: ${word}`);
  }

  function show(at) {
    state.at = at;
    const item = state.items[at];
    if (!item) return;
    const picture = { name: item.title, images: item.images };
    const kinds = order.filter((kind) => item.images[kind]);
    const aside = find("[data-beside]").getAttribute("aria-pressed") === "true";
    find(".stage").hidden = aside || !kinds.length;
    find(".beside").hidden = !aside || !kinds.length;
    find(".lost").hidden = !item.state;
    find(".lost").textContent = item.detail;
    if (kinds.length) {
      const [width, height] = item.images[kinds[kinds.length - 1]].size;
      find(".stage").style.setProperty("--shape", width / height);
      stage.show(picture, kinds);
    } else {
      find(".stage").replaceChildren();
    }
    find(".beside").replaceChildren(...kinds.map((kind) => {
      const figure = element("figure");
      figure.append(image(picture, kind, data.kinds), element("figcaption", "", data.kinds[kind]));
      return figure;
    }));
    find(".name").replaceChildren(element("bdi", "", item.title));
    note(item.note ?? "");
    find("dl.facts").replaceChildren(...item.facts.map(([term, value]) => {
      const pair = element("div");
      const inner = element("dd");
      inner.append(element("bdi", "", value));
      pair.append(element("dt", "", term), inner);
      return pair;
    }));
    document.querySelectorAll(".strip button").forEach((button, number) => {
      button.setAttribute("aria-current", String(number === at));
    });
    find('[data-step="back"]').disabled = state.start + at === 0;
    find('[data-step="on"]').disabled = state.start + at + 1 >= state.total;
  }

  function note(words) {
    find("figcaption .note").textContent = words;
    find("figcaption .note").hidden = !words;
  }

  function step(by) {
    const next = state.at + by;
    if (next >= 0 && next < state.items.length) show(next);
    else if (by > 0 && state.start + next < state.total) load(state.start + data.page);
    else if (by < 0 && state.start > 0) load(state.start - data.page, data.page - 1);
  }

  // An image that was promised and cannot be shown is taken away, and the server says why.
  async function explain(event) {
    const item = state.items[state.at];
    const kind = order.find((one) => item?.images[one] && event.target.src?.endsWith(item.images[one].src));
    if (!kind) return;
    const { src } = item.images[kind];
    delete item.images[kind];
    let words = "";
    try {
      words = data.items ? "" : (await (await fetch(src, { cache: "no-store", credentials: "omit" })).json()).error.message;
    } catch { /* no answer in words */ }
    item.note = `${item.note ? `${item.note} ` : ""}${data.kinds[kind]} cannot be shown${words ? `: ${words}` : ""}.`;
    if (item === state.items[state.at]) show(state.at);
  }

  // Where no size is known, the first image that comes gives the stage its shape.
  function shape(event) {
    const item = state.items[state.at];
    if (!item?.guessed || !event.target.naturalWidth) return;
    item.guessed = false;
    for (const one of Object.values(item.images)) one.size = [event.target.naturalWidth, event.target.naturalHeight];
    show(state.at);
  }

  let timer = 0;
  for (const select of selects) select.addEventListener("change", () => load(0));
  find("#words").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => load(0), 200);
  });
  find("#all").addEventListener("click", () => {
    for (const select of selects) if (select.dataset.choose !== "order") select.value = "0";
    find("#words").value = "";
    load(0);
    selects[0].focus();
  });
  for (const button of document.querySelectorAll("[data-page]")) {
    const starts = { first: () => 0, earlier: () => Math.max(0, state.start - data.page), later: () => state.start + data.page };
    button.addEventListener("click", () => load(starts[button.dataset.page]()));
  }
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => step(button.dataset.step === "on" ? 1 : -1));
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => stage.zoom(button.dataset.zoom));
  }
  find("[data-beside]").addEventListener("click", () => {
    const toggle = find("[data-beside]");
    toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
    show(state.at);
  });
  find(".strip").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    const buttons = [...document.querySelectorAll(".strip button")];
    const next = buttons[buttons.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
    next.click();
  });
  for (const shown of [find(".stage"), find(".beside")]) shown.addEventListener("error", explain, true);
  find(".stage").addEventListener("load", shape, true);

  find("#still").remove();
  find(".viewer").hidden = false;
  load(0);
})();
