"use strict";
// The viewer of pictures, and the links that lead to it. All else on the page works without this.
(() => {
  const PAGE = 24; // thumbnails at a time
  const MOST = 16; // the largest zoom

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function image(picture, kind, kinds) {
    const made = element("img");
    const source = picture.images[kind];
    made.alt = `${kinds[kind]} of ${picture.name}`;
    made.draggable = false;
    if (source) {
      made.src = source.src;
      if (kind === "lr") made.className = "pixels";
    } else {
      made.alt = `${kinds[kind]} of ${picture.name} is not there`;
    }
    return made;
  }

  // The stage: pictures on top of each other, each visible between two borders.
  function makeStage(root, kinds) {
    const state = { picture: null, layers: [], borders: [], zoom: 1, x: 0, y: 0 };
    const fingers = new Map();

    function show(picture, order) {
      const kept = state.borders.length === order.length - 1 ? state.borders : null;
      state.picture = picture;
      state.borders = kept || order.slice(1).map((_, at) => (100 * (at + 1)) / order.length);
      root.replaceChildren();
      const best = picture.images[order[order.length - 1]] || Object.values(picture.images)[0];
      if (best) root.style.aspectRatio = `${best.size[0]} / ${best.size[1]}`;
      state.layers = order.map((kind) => {
        const layer = element("div", "layer");
        layer.append(image(picture, kind, kinds));
        root.append(layer);
        return layer;
      });
      state.badges = order.map((kind) => {
        const badge = element("span", "badge", kinds[kind]);
        root.append(badge);
        return badge;
      });
      state.handles = state.borders.map((_, at) => makeHandle(at, order));
      place();
    }

    function makeHandle(at, order) {
      const handle = element("div", "handle");
      handle.setAttribute("role", "slider");
      handle.tabIndex = 0;
      handle.setAttribute("aria-orientation", "horizontal");
      handle.setAttribute("aria-label", `Border between ${kinds[order[at]]} and ${kinds[order[at + 1]]}`);
      handle.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        event.stopPropagation();
        handle.focus();
        handle.setPointerCapture(event.pointerId);
      });
      handle.addEventListener("pointermove", (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const box = root.getBoundingClientRect();
        move(at, (100 * (event.clientX - box.left)) / box.width);
      });
      handle.addEventListener("keydown", (event) => {
        const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
        if (!(event.key in steps) || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        event.stopPropagation();
        move(at, state.borders[at] + steps[event.key]);
      });
      root.append(handle);
      return handle;
    }

    function move(at, to) {
      const low = at ? state.borders[at - 1] : 0;
      const high = at + 1 < state.borders.length ? state.borders[at + 1] : 100;
      state.borders[at] = clamp(to, low, high);
      place();
    }

    function place() {
      const ends = [0, ...state.borders, 100];
      const shift = `translate(${state.x * 100}%, ${state.y * 100}%) scale(${state.zoom})`;
      state.layers.forEach((layer, at) => {
        layer.style.clipPath = `inset(0 ${100 - ends[at + 1]}% 0 ${ends[at]}%)`;
        layer.firstChild.style.transform = shift;
        if (state.zoom >= 4) layer.firstChild.classList.add("pixels");
        const badge = state.badges[at];
        badge.style.left = `calc(${(ends[at] + ends[at + 1]) / 2}% - 1.4rem)`;
        badge.hidden = ends[at + 1] - ends[at] < 14;
      });
      state.handles.forEach((handle, at) => {
        const value = state.borders[at];
        handle.style.left = `${value}%`;
        handle.setAttribute("aria-valuemin", Math.round(at ? state.borders[at - 1] : 0));
        handle.setAttribute("aria-valuemax", Math.round(at + 1 < state.borders.length ? state.borders[at + 1] : 100));
        handle.setAttribute("aria-valuenow", Math.round(value));
        handle.setAttribute("aria-valuetext", `${Math.round(value)} per cent from the left`);
      });
      root.classList.toggle("zoomed", state.zoom > 1);
    }

    // Zoom so that the point (across, down), as shares of the stage, stays where it is.
    function zoomTo(zoom, across = 0.5, down = 0.5) {
      const before = state.zoom;
      state.zoom = clamp(zoom, 1, MOST);
      state.x = across - ((across - state.x) * state.zoom) / before;
      state.y = down - ((down - state.y) * state.zoom) / before;
      pan(0, 0);
    }

    function pan(across, down) {
      state.x = clamp(state.x + across, 1 - state.zoom, 0);
      state.y = clamp(state.y + down, 1 - state.zoom, 0);
      place();
    }

    const share = (x, y) => {
      const box = root.getBoundingClientRect();
      return [(x - box.left) / box.width, (y - box.top) / box.height];
    };

    root.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event);
      if (state.zoom > 1 || fingers.size > 1) root.setPointerCapture(event.pointerId);
    });
    root.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const box = root.getBoundingClientRect();
      if (fingers.size === 2) {
        const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
        const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
        const middle = share((event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
        zoomTo((state.zoom * apart(event)) / apart(before), ...middle);
      } else if (state.zoom > 1) {
        pan((event.clientX - before.clientX) / box.width, (event.clientY - before.clientY) / box.height);
      }
      fingers.set(event.pointerId, event);
    });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
      root.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    }
    root.addEventListener("pointerleave", (event) => {
      if (!root.hasPointerCapture(event.pointerId)) fingers.delete(event.pointerId);
    });
    root.addEventListener("touchmove", (event) => { if (event.touches.length > 1) event.preventDefault(); }, { passive: false });
    root.addEventListener("dblclick", (event) => {
      const [across, down] = share(event.clientX, event.clientY);
      zoomTo(state.zoom > 1 ? 1 : 3, across, down);
    });
    root.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return; // a plain wheel scrolls the page
      event.preventDefault();
      zoomTo(state.zoom * Math.exp(-event.deltaY / 200), ...share(event.clientX, event.clientY));
    }, { passive: false });
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        "+": () => zoomTo(state.zoom * 1.5), "=": () => zoomTo(state.zoom * 1.5),
        "-": () => zoomTo(state.zoom / 1.5), "0": () => zoomTo(1),
      };
      const arrows = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (keys[event.key]) keys[event.key]();
      else if (arrows[event.key] && state.zoom > 1) pan(...arrows[event.key]);
      else return;
      event.preventDefault();
    });

    return { show, zoom: (word) => zoomTo(word === "in" ? state.zoom * 1.5 : word === "out" ? state.zoom / 1.5 : 1) };
  }

  function makeViewer(viewer) {
    const data = JSON.parse(document.getElementById(viewer.dataset.study).textContent);
    const find = (selector) => viewer.querySelector(selector);
    const choose = (key) => Number(find(`[data-choose="${key}"]`)?.value ?? 0);
    const classes = [...find('[data-choose="class"]').options].map((option) => option.textContent);
    const left = Object.keys(data.kinds).filter((kind) => kind === "lr" || kind === "bicubic");
    const stage = makeStage(find(".stage"), data.kinds);
    let listed = [];
    let current = 0;
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
      const keys = [null, (one) => one.rank ?? Infinity, (one) => -(one.rank ?? -Infinity), (one) => one.safe ?? Infinity];
      const key = keys[choose("order")];
      if (key) listed.sort((one, other) => {
        const [a, b] = [key(data.pictures[one]), key(data.pictures[other])];
        return a === b ? one - other : a < b ? -1 : 1; // infinite keys must not be subtracted
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
        ? `${listed.length} of ${data.pictures.length} pictures${shown}.${wrong}` : "No picture fits this choice.";
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

  // Names of pictures all over the study open the viewer; lists that are opened show small copies beside the names.
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
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const frame of document.querySelectorAll(".scroll")) sizes.observe(frame);

  for (const viewer of document.querySelectorAll(".viewer")) makeViewer(viewer);
})();
