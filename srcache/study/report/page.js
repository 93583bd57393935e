// The viewer: images chosen from a study and shown by the slider, and the links that lead to it. All else on the page
// works without this.
(() => {
  "use strict";
  const PAGE = 24; // thumbnails at a time
  const { element, clamp, image, makeStage } = slider;

  function makeViewer(viewer) {
    const data = JSON.parse(document.getElementById(viewer.dataset.study).textContent);
    const find = (selector) => viewer.querySelector(selector);
    const choose = (key) => Number(find(`[data-choose="${key}"]`)?.value ?? 0);
    for (const { images } of data.pictures) if (images.lr) images.lr.pixelated = true; // its pixels are the point
    const classes = [...find('[data-choose="class"]').options].map((option) => option.textContent);
    const left = Object.keys(data.kinds).filter((kind) => kind === "lr" || kind === "bicubic");
    const stage = makeStage(find(".stage"), data.kinds);
    let listed = [];
    let current = data.mixed[0] ?? 0; // an image on which arms disagree, where there is one
    let first = 0;

    function order() {
      const chosen = left.length > 1 ? left[choose("left")] : left[0];
      return [chosen, "sr", "hr"].filter((kind) => kind && data.kinds[kind]);
    }

    function filter() {
      const members = choose("set") ? data.sets[choose("set") - 1] : data.pictures.map((_, at) => at);
      const label = classes[choose("class")];
      const right = choose("right");
      listed = members.filter((at) => {
        const picture = data.pictures[at];
        if (choose("class") && String(picture.label) !== label) return false;
        const answer = picture.answers[choose("arm")];
        return !right || (answer && answer[1] === (right === 1));
      });
      const place = new Map(data.mixed.map((at, number) => [at, number]));
      listed.sort((one, other) => place.get(one) - place.get(other));
      const keys = [null, null, (one) => one.rank ?? Infinity, (one) => -(one.rank ?? -Infinity), (one) => one.safe ?? Infinity];
      const key = keys[choose("order")];
      if (choose("order") === 1) listed.sort((one, other) => one - other);
      if (key) listed.sort((one, other) => {
        const [a, b] = [key(data.pictures[one]), key(data.pictures[other])];
        return a === b ? 0 : a < b ? -1 : 1; // infinite keys must not be subtracted
      });
      first = 0;
    }

    function strip() {
      first = clamp(first, 0, Math.max(0, listed.length - 1));
      first -= first % PAGE;
      const thumbnail = ["sr", "hr", "lr", "bicubic"].filter((kind) => data.kinds[kind]);
      const items = listed.slice(first, first + PAGE).map((at) => {
        const picture = data.pictures[at];
        const button = element("button");
        button.type = "button";
        const kind = thumbnail.find((one) => picture.images[one]) ?? thumbnail[0];
        const said = picture.answers[choose("arm")];
        const made = image(picture, kind, data.kinds);
        made.alt = said ? `${picture.name}, ${said[1] ? "right" : "wrong"}` : picture.name;
        if (said && !said[1]) button.classList.add("wrong");
        button.append(made);
        button.title = picture.name;
        button.setAttribute("aria-current", String(at === current));
        button.addEventListener("click", () => show(at));
        const item = element("li");
        item.append(button);
        return item;
      });
      find(".strip").replaceChildren(...items);
      const last = Math.min(first + PAGE, listed.length);
      const shown = listed.length > PAGE ? `, ${first + 1} to ${last} below` : "";
      const wrong = data.arms.length ? " A dashed frame: the chosen arm is wrong." : "";
      find(".count").textContent = listed.length
        ? `${listed.length} of ${data.pictures.length} images${shown}.${wrong}` : "No image fits this choice.";
      find('[data-page="earlier"]').disabled = first === 0;
      find('[data-page="later"]').disabled = last >= listed.length;
      find(".paging").hidden = listed.length <= PAGE;
    }

    function show(at) {
      current = at;
      const picture = data.pictures[at];
      stage.show(picture, order());
      beside(picture);
      const name = element("bdi", "", picture.name);
      find(".name").replaceChildren(name);
      const said = data.arms.flatMap((arm, number) => {
        const answer = picture.answers[number];
        return answer ? [[`${arm} says`, `${answer[0]} ${answer[1] ? "✓" : "✗"}`, answer[1] ? "right" : "wrong"]] : [];
      });
      const safe = picture.safe === null ? [] : [["Safe", picture.safe.toFixed(2)]];
      const truth = picture.label === null ? [] : [["True class", picture.label]];
      const facts = [...truth, ...said, ...picture.figures, ...safe].map(([term, value, words]) => {
        const pair = element("div");
        const shown = element("dd", words === "right" ? "yes" : words === "wrong" ? "no" : "");
        shown.append(element("bdi", "", value));
        if (words) shown.append(` ${words}`);
        pair.append(element("dt", "", term), shown);
        return pair;
      });
      find("figcaption .facts").replaceChildren(...facts);
      for (const button of viewer.querySelectorAll(".strip button")) button.setAttribute("aria-current", "false");
      const place = listed.indexOf(at);
      if (place >= first && place < first + PAGE) {
        viewer.querySelectorAll(".strip button")[place - first].setAttribute("aria-current", "true");
      }
      find('[data-step="back"]').disabled = place <= 0;
      find('[data-step="on"]').disabled = place < 0 || place + 1 >= listed.length;
    }

    function beside(picture) {
      const figures = Object.keys(data.kinds).filter((kind) => picture.images[kind]).map((kind) => {
        const figure = element("figure");
        figure.append(image(picture, kind, data.kinds), element("figcaption", "", data.kinds[kind]));
        return figure;
      });
      find(".beside").replaceChildren(...figures);
    }

    function refresh() {
      filter();
      if (listed.length && !listed.includes(current)) current = listed[0];
      strip();
      show(current);
    }

    function step(by) {
      const next = listed[listed.indexOf(current) + by];
      if (next === undefined) return;
      const place = listed.indexOf(next);
      if (place < first || place >= first + PAGE) { first = place; current = next; strip(); }
      show(next);
    }

    function open(at) {
      if (!listed.includes(at)) {
        for (const key of ["set", "class", "right"]) find(`[data-choose="${key}"]`).value = "0";
        filter();
      }
      current = at;
      first = listed.indexOf(at);
      strip();
      show(at);
      viewer.scrollIntoView({ block: "start" });
      find(".stage").focus({ preventScroll: true });
    }

    for (const select of viewer.querySelectorAll("select")) {
      select.addEventListener("change", () => (select.dataset.choose === "left" ? show(current) : refresh()));
    }
    for (const button of viewer.querySelectorAll("[data-page]")) {
      button.addEventListener("click", () => { first += button.dataset.page === "later" ? PAGE : -PAGE; strip(); });
    }
    for (const button of viewer.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => step(button.dataset.step === "on" ? 1 : -1));
    }
    for (const button of viewer.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => stage.zoom(button.dataset.zoom));
    }
    const toggle = find("[data-beside]");
    toggle.addEventListener("click", () => {
      const on = toggle.getAttribute("aria-pressed") !== "true";
      toggle.setAttribute("aria-pressed", String(on));
      find(".beside").hidden = !on;
      find(".stage").hidden = on;
    });

    viewer.hidden = false;
    viewer.parentElement.querySelector(".still").hidden = true;
    refresh();
    linkUp(viewer, data, open);
  }

  // Names of images all over the study open the viewer; lists that are opened show small copies beside the names.
  function linkUp(viewer, data, open) {
    const links = [...document.querySelectorAll(`a[data-picture][href="#${viewer.id}"]`)];
    for (const link of links) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        open(Number(link.dataset.picture));
      });
    }
    for (const list of new Set(links.map((link) => link.closest("details.drill")).filter(Boolean))) {
      list.addEventListener("toggle", () => {
        if (!list.open || list.dataset.filled) return;
        list.dataset.filled = "yes";
        for (const link of list.querySelectorAll("a[data-picture]")) {
          const picture = data.pictures[Number(link.dataset.picture)];
          const trio = element("span", "trio");
          for (const kind of ["lr", "sr", "hr"]) {
            if (picture.images[kind]) trio.append(image(picture, kind, data.kinds));
          }
          link.after(trio);
        }
      });
    }
  }

  // A count leads to its list, which opens.
  for (const link of document.querySelectorAll('a[href^="#"]')) {
    const list = document.getElementById(link.hash.slice(1));
    if (!(list instanceof HTMLDetailsElement)) continue;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      list.open = true;
      list.scrollIntoView({ block: "start" });
      list.querySelector("summary").focus({ preventScroll: true });
    });
  }

  // Tables that fit need no stop of the keyboard; without a script every one has it.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const wider = target.scrollWidth > target.clientWidth;
      if (wider) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
      target.classList.toggle("wider", wider);
    }
  });
  for (const frame of document.querySelectorAll(".scroll")) {
    frame.addEventListener("scroll", () => {
      frame.classList.toggle("end", frame.scrollLeft + frame.clientWidth >= frame.scrollWidth - 1);
    }, { passive: true });
  }
  for (const frame of document.querySelectorAll(".scroll")) sizes.observe(frame);

  for (const viewer of document.querySelectorAll(".viewer")) makeViewer(viewer);

  // On paper nothing can be opened: all is open, and closed again afterwards.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  window.addEventListener("afterprint", () => { for (const details of closed) details.open = false; });
})();
