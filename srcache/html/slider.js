// Images on top of each other, each visible between two borders, which are dragged or moved by keys; zoomed by keys,
// wheel, double click and two fingers. A picture is { name, images: { kind: { src, size: [width, height], pixelated } } }:
// `pixelated` images are enlarged with their pixels visible, the others smoothly.
const slider = (() => {
  "use strict";
  const MOST = 16; // the largest zoom

  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // One image of a picture as an element; where it is missing, its text says so.
  function image(picture, kind, kinds) {
    const made = element("img");
    const source = picture.images[kind];
    made.alt = `${kinds[kind]} of ${picture.name}`;
    made.draggable = false;
    if (source) {
      made.src = source.src;
      if (source.pixelated) made.className = "pixels";
    } else {
      made.alt = `${kinds[kind]} of ${picture.name} is not there`;
    }
    return made;
  }

  // The slider in the element `root`; `kinds` has the label of each image. What comes back shows a picture, with the
  // kinds that are wanted from left to right, and zooms: "in", "out", or anything else for all of the picture.
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

  return { element, clamp, image, makeStage };
})();
