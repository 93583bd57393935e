// The service's page: an image is dropped, chosen or pasted, the service makes its SR image, and both stand under the
// slider. The token is in a variable of this script and nowhere else.
(() => {
  "use strict";
  const FORMATS = { "image/png": "PNG", "image/webp": "WebP", "image/jpeg": "JPEG" }; // what every browser shows
  const WAITS = [1, 60, 3]; // seconds before asking again: least, most, and where the service names none
  const LARGE = 16e6; // bytes from which on a service may hang up instead of answering
  const find = (id) => document.getElementById(id);
  const labels = { lr: "LR", sr: "SR" };
  const stage = slider.makeStage(document.querySelector(".stage"), labels);
  let token = "";
  let recipes = [];
  let file = null; // the image in hand
  let running = null; // an AbortController while the service is being asked
  let shown = []; // object URLs of the images on the page

  // An answer that is not the one asked for, in the service's own words.
  class Refusal extends Error {
    constructor(status, words) {
      super(words);
      this.status = status;
    }
  }

  // Words

  const bytes = (count) => {
    const units = ["bytes", "kB", "MB", "GB"];
    const at = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
    return `${at ? (count / 1000 ** at).toPrecision(3) : count} ${units[at]}`;
  };
  const seconds = (value) => `${value < 10 ? value.toPrecision(2) : Math.round(value)} s`;
  const size = (image) => `${image.naturalWidth} × ${image.naturalHeight}`;
  const stem = (name) => name.replace(/\.[^.]*$/, "") || "image";

  function say(words) {
    find("status").textContent = words;
  }

  function complain(words) {
    find("problem").textContent = words;
    find("problem").hidden = !words;
  }

  function busy(controller) {
    running = controller;
    find("progress").hidden = find("cancel").hidden = !controller;
    find("make").disabled = Boolean(controller) || !file;
    document.querySelector("main").setAttribute("aria-busy", String(Boolean(controller)));
  }

  // Asking the service

  const pause = (time, signal) => new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * time);
    signal.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
  });

  function wait(response) {
    const header = response.headers.get("Retry-After");
    const value = header === null || header.trim() === "" ? NaN
      : Number.isFinite(Number(header)) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
    return Number.isFinite(value) ? slider.clamp(Math.ceil(value), WAITS[0], WAITS[1]) : WAITS[2];
  }

  async function words(response) {
    try {
      const { error } = await response.json();
      if (error.message) return error.message;
    } catch { /* not the service's own answer: a proxy's, perhaps */ }
    return `The service answered with status ${response.status} and no reason.`;
  }

  // One request, made again for as long as the service is full or not ready.
  async function ask(path, options) {
    for (;;) {
      const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
      const started = performance.now();
      const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
      if (response.ok) return [response, started];
      const message = await words(response);
      if (response.status !== 503) throw new Refusal(response.status, message);
      const time = wait(response);
      say(`${message}\nAsking again in ${time} s.`);
      await pause(time, options.signal);
      say("Asking again …");
    }
  }

  // Run `act` as the one thing that happens, and say what goes wrong with what it is `about`; `again` does it once more.
  async function attempt(act, again, about = "") {
    running?.abort();
    const controller = new AbortController();
    busy(controller);
    complain("");
    find("again").hidden = true;
    try {
      await act(controller.signal);
    } catch (error) {
      if (controller.signal.aborted) return;
      say("");
      fail(error, again, about);
    } finally {
      if (running === controller) busy(null);
    }
  }

  function fail(error, again, about) {
    if (error instanceof Refusal && error.status === 401) {
      complain(token ? "The service does not take this token; the right one is in the file that it was started with." : "");
      say(token ? "" : "The service asks for its token first.");
      token = "";
      next = again;
      find("token-form").hidden = false;
      find("token").focus();
    } else if (error instanceof Refusal) {
      complain(about ? `${about}: ${error.message}` : error.message);
    } else {
      const large = file?.size > LARGE ? ` The file has ${bytes(file.size)}, which may be more than it takes.` : "";
      complain(`The service does not answer, or broke off before its answer was complete.${large}`);
      find("again").hidden = false;
      find("again").onclick = again;
    }
  }

  let next = start; // what a new token lets go on

  async function start() {
    await attempt(async (signal) => {
      say("Asking the service for its recipes …");
      const [response] = await ask("v1/recipes", { signal });
      recipes = (await response.json()).recipes;
      const options = recipes.map((recipe) => {
        const option = slider.element("option", "", `${recipe.name}, ×${recipe.scale} (${recipe.fingerprint.slice(0, 8)})`);
        option.value = recipe.fingerprint;
        return option;
      });
      find("recipe").replaceChildren(...options);
      find("recipe").disabled = recipes.length < 2;
      find("token-form").hidden = true;
      find("token").value = "";
      find("ask-form").hidden = false;
      say("");
      if (token) find("file").focus(); // the field that had the focus is gone
      if (file) make();
    }, start);
  }

  function make() {
    if (!file || find("ask-form").hidden || !find("ask-form").reportValidity()) return;
    attempt(async (signal) => {
      const source = file;
      const recipe = recipes.find((one) => one.fingerprint === find("recipe").value);
      const sample = Number(find("sample").value);
      say(`Super-resolving ${source.name} (${bytes(source.size)}) …`);
      const query = new URLSearchParams({ recipe: recipe.fingerprint, sample });
      await source.slice(0, 1).arrayBuffer().catch(() => { throw new Refusal(0, "the file cannot be read; is it a folder, or gone?"); });
      const headers = { "Content-Type": "application/octet-stream", Accept: Object.keys(FORMATS).join(", ") };
      const [response, started] = await ask(`v1/sr?${query}`, { method: "POST", body: source, headers, signal });
      const answer = await response.blob();
      const taken = (performance.now() - started) / 1000;
      find("token-form").hidden = true;
      await show({ source, recipe, sample, answer, taken, response });
    }, make, file.name);
  }

  // Showing both images

  async function open(blob) {
    const image = new Image();
    image.src = URL.createObjectURL(blob);
    try {
      await image.decode();
      return image;
    } catch {
      URL.revokeObjectURL(image.src);
      return null;
    }
  }

  async function show({ source, recipe, sample, answer, taken, response }) {
    const [lr, sr] = [await open(source), await open(answer)];
    shown.forEach(URL.revokeObjectURL);
    const images = {};
    if (lr) images.lr = { src: lr.src, size: [lr.naturalWidth, lr.naturalHeight], pixelated: true };
    if (sr) images.sr = { src: sr.src, size: [sr.naturalWidth, sr.naturalHeight] };
    const made = recipe.document?.degradation;
    labels.lr = made ? "Yours" : "LR";
    find("result").hidden = false;
    document.querySelector(".stage").hidden = !sr && !lr;
    const largest = sr || lr;
    if (largest) document.querySelector(".stage").style.setProperty("--shape", largest.naturalWidth / largest.naturalHeight);
    stage.show({ name: source.name, images }, ["lr", "sr"].filter((kind) => images[kind]));
    stage.zoom("whole");
    const url = sr ? sr.src : URL.createObjectURL(answer);
    shown = [url, ...(lr ? [lr.src] : [])];
    const format = FORMATS[answer.type] ?? "file";
    find("download").href = url;
    find("download").download = `${stem(source.name)}-${recipe.name}-${String(sample).padStart(3, "0")}.${format.toLowerCase()}`;
    find("download").textContent = `Download SR (${format}, ${bytes(answer.size)})`;
    find("result-name").textContent = source.name;
    note([
      !lr && "This browser cannot show files like yours (TIFF and QOI, for instance), so SR stands alone.",
      !sr && "This browser cannot show the SR image that came back; it can be downloaded.",
      made && `The recipe makes LR from your image first (${made}); what you see at the left is your image as it is.`,
    ]);
    facts({ lr, sr, recipe, sample, taken, response });
  }

  function note(sentences) {
    find("result-note").textContent = sentences.filter(Boolean).join(" ");
    find("result-note").hidden = !find("result-note").textContent;
  }

  function facts({ lr, sr, recipe, sample, taken, response }) {
    const hit = response.headers.get("X-Srcache-Cache") === "hit";
    const rows = [
      ["Size", [lr && size(lr), sr && size(sr)].filter(Boolean).join(" → ")],
      ["Cache", hit ? "hit: it was there" : "miss: made now"],
      ["Time", seconds(taken)],
      ["Recipe", `${recipe.name}, ×${recipe.scale}`],
      ["Sample", String(sample)],
      ["Fingerprint", response.headers.get("X-Srcache-Fingerprint")],
      ["Key", response.headers.get("X-Srcache-Key")],
    ];
    find("facts").replaceChildren(...rows.filter((row) => row[1]).map(([term, value]) => {
      const pair = slider.element("div");
      const code = term === "Key" || term === "Fingerprint";
      const inner = slider.element("dd", "", code ? undefined : value);
      if (code) inner.append(slider.element("code", "", value));
      pair.append(slider.element("dt", "", term), inner);
      return pair;
    }));
    say(`Done in ${seconds(taken)}, ${hit ? "from the cache" : "made now"}.`);
  }

  // What people do

  function take(files) {
    if (!files.length) return;
    file = files[0];
    if (find("file").files !== files) find("file").files = files;
    find("result").hidden = true;
    find("make").disabled = false;
    if (find("ask-form").hidden) say(`${file.name} is taken up as soon as the service has its token.`);
    else make();
  }

  find("still").remove();
  find("token-form").addEventListener("submit", (event) => {
    event.preventDefault();
    token = find("token").value.trim();
    next();
  });
  find("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    make();
  });
  find("file").addEventListener("change", () => take(find("file").files));
  find("cancel").addEventListener("click", () => {
    running?.abort();
    say("Cancelled.");
    busy(null);
    find("again").hidden = recipes.length > 0;
    find("again").onclick = start;
  });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => stage.zoom(button.dataset.zoom));
  }
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  start();
})();
