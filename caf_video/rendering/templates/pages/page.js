"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // Text is only ever set as text: names of clips, classes and files may hold anything.
  function make(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }
  const seconds = (value) => `${value.toFixed(2)} s`;

  // ── films: the frames of a clip side by side in one picture, of which one is seen ──────────
  let mode = 0;
  const films = new Set();
  const hue = (place, count) => `hsl(${Math.round((place * 360) / Math.max(1, count))} 65% var(--light))`;

  // clip: {films, size, times_seconds, influence}; returns the window, the bar, and how to set both.
  function makeFilm(clip, name, onOpen) {
    const steps = Math.max(1, clip.times_seconds.length);
    const [width, height] = clip.size;
    const image = make("img", { loading: "lazy", decoding: "async", alt: "" });
    const pane = make(onOpen ? "button" : "div", { className: "film" }, image);
    if (onOpen) {
      pane.type = "button";
      pane.setAttribute("aria-label", `Look at ${name}`);
      pane.addEventListener("click", onOpen);
    } else {
      pane.setAttribute("role", "img");
      pane.setAttribute("aria-label", `Frames of ${name}`);
    }
    pane.style.aspectRatio = `${width} / ${height}`;
    image.style.width = `${steps * 100}%`;
    const told = make("output");
    const slider = make("input", { type: "range", min: 0, max: steps - 1, step: 1 });
    slider.value = 0;
    slider.setAttribute("aria-label", `Frame of ${name}`);
    const play = make("button", { type: "button", textContent: "▶" });
    play.setAttribute("aria-label", `Play ${name}`);
    const bar = make("div", { className: "play" }, play, slider, told);
    bar.hidden = steps < 2;
    const film = {
      pane, bar, slider,
      show(step) {
        slider.value = step;
        image.style.transform = `translateX(${(-100 * step) / steps}%)`;
        const share = clip.influence.length ? ` · ${Math.round(100 * clip.influence[step])} %` : "";
        told.textContent = clip.times_seconds.length ? seconds(clip.times_seconds[step]) + share : "";
        told.title = share ? "When the frame is, and its share of the influence" : "";
      },
      draw() { image.src = clip.films[Math.min(mode, clip.films.length - 1)]; },
    };
    slider.addEventListener("input", () => film.show(Number(slider.value)));
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      play.textContent = "▶";
    };
    play.addEventListener("click", () => {
      if (timer) return stop();
      play.textContent = "❚❚";
      timer = setInterval(() => {
        if (!pane.isConnected) return stop();
        film.show((Number(slider.value) + 1) % steps);
        slider.dispatchEvent(new Event("played"));
      }, 500);
    });
    film.draw();
    film.show(0);
    films.add(film);
    return film;
  }
  function setMode(value) {
    mode = value;
    for (const film of films) {
      if (film.pane.isConnected || film.kept) film.draw();
      else films.delete(film);
    }
  }

  document.querySelectorAll("table.sortable").forEach(sortable);
  if (data.matches) return searchPage();
  if (data.clips) runPage();

  // ── tables: a click on a column sorts by it, another turns the order, a third gives it up ──
  function sortable(table) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    if (rows.length < 2) return;
    const number = (text) => {
      const found = /^[-+−]?\d+(\.\d+)?(e[-+]?\d+)?(?![\w-])/.exec(text);
      return found ? Number(found[0].replace("−", "-")) : NaN;
    };
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      if (!head.textContent.trim()) button.setAttribute("aria-label", "Sort by the first column");
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const way = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") || "none"];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (way === "none") return body.append(...rows);
        head.setAttribute("aria-sort", way);
        const sign = way === "ascending" ? 1 : -1;
        const keyed = rows.map((row) => {
          const text = row.cells[column].textContent.trim();
          return { row, text, value: number(text), empty: text === "" || text === "–" };
        });
        keyed.sort((one, other) => {
          if (one.empty !== other.empty) return one.empty ? 1 : -1; // what says nothing is last both ways
          if (isNaN(one.value) !== isNaN(other.value)) return isNaN(one.value) ? 1 : -1;
          return sign * ((isNaN(one.value) ? 0 : one.value - other.value) || one.text.localeCompare(other.text));
        });
        body.append(...keyed.map(({ row }) => row));
      });
    });
  }

  // ── the page of a run ──────────────────────────────────────────────────────────────────────
  function runPage() {
    const clips = data.clips;
    const form = byId("controls");
    const field = (name) => form.elements.namedItem(name);
    const classes = [...new Set(clips.map((clip) => clip.label))].sort();
    const verdictOf = (clip) => (clip.verdict === null ? "none" : clip.verdict ? "right" : "wrong");
    let shown = clips.map((_, place) => place);

    function fill(name, values) {
      field(name).append(make("option", { value: "", textContent: "all" }));
      values.forEach((value, place) =>
        field(name).append(make("option", { value: String(place + 1), textContent: value || "(none)" })));
      field(name).parentElement.hidden = values.length < 2; // images have no sessions
      return values;
    }
    const listed = {
      label: fill("label", classes),
      found: fill("found", [...new Set(clips.map((clip) => clip.found))].sort()),
      session: fill("session", [...new Set(clips.map((clip) => clip.session))].sort()),
    };
    const chosen = (name) => {
      const place = field(name).value;
      return place === "" ? null : listed[name][Number(place) - 1];
    };
    data.modes.forEach((name, place) =>
      field("mode").append(make("option", { value: String(place), textContent: name })));

    // Cards are empty until they come near: two thousand of them are made at once, in no time.
    const cards = clips.map((clip, place) => {
      const card = make("article", { className: "card" });
      card.dataset.place = place;
      return card;
    });
    const nearby = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        nearby.unobserve(target);
        fillCard(target, Number(target.dataset.place));
      }
    }, { rootMargin: "900px" });
    cards.forEach((card) => nearby.observe(card));

    function verdict(clip) {
      const words = { right: "✓ right", wrong: "✗ wrong", none: "not judged" };
      const one = verdictOf(clip);
      return make("span", { className: one === "none" ? "note" : one, textContent: words[one] });
    }
    function fillCard(card, place) {
      const clip = clips[place];
      const film = makeFilm(clip, clip.id, () => open(place));
      film.kept = true;
      const words = make("div", { className: "words" },
        make("h3", { textContent: clip.label || "(no label)" }),
        make("p", {}, verdict(clip), clip.found ? ` · found as ${clip.found}` : ""),
        make("p", { className: "note", textContent: [
          clip.id, clip.session && `session ${clip.session}`,
          clip.distance === null ? "" : `distance ${clip.distance.toPrecision(3)}`,
        ].filter(Boolean).join(" · ") }));
      card.append(film.pane, film.bar, words);
    }

    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    const far = (clip) => (clip.distance === null ? Infinity : clip.distance);
    const orders = {
      listed: () => 0,
      nearest: (a, b) => far(clips[a]) - far(clips[b]),
      farthest: (a, b) => far(clips[b]) - far(clips[a]),
      label: (a, b) => compare(clips[a].label, clips[b].label),
      session: (a, b) => compare(clips[a].session, clips[b].session),
    };
    function update() {
      const label = chosen("label"), found = chosen("found"), session = chosen("session");
      const wanted = field("verdict").value, text = field("text").value.trim().toLowerCase();
      shown = clips.map((_, place) => place).filter((place) => {
        const clip = clips[place];
        return (label === null || clip.label === label) && (found === null || clip.found === found) &&
          (session === null || clip.session === session) &&
          (!wanted || verdictOf(clip) === wanted) &&
          (!text || clip.id.toLowerCase().includes(text));
      });
      if (field("order").value !== "listed") shown.sort(orders[field("order").value]);
      byId("cards").replaceChildren(...shown.map((place) => cards[place]));
      byId("count").textContent = `${shown.length} of ${clips.length} ${data.noun}`;
      const visible = new Set(shown);
      points.forEach((point, place) => point.classList.toggle("out", !visible.has(place)));
      for (const button of byId("legend").querySelectorAll("button"))
        button.setAttribute("aria-pressed", String(button.dataset.label === label));
    }
    form.addEventListener("input", (event) => {
      if (event.target.name === "mode") setMode(Number(event.target.value));
      else update();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => { setMode(0); update(); }));
    function choose(values) {
      form.reset();
      for (const [name, value] of Object.entries(values)) {
        const place = listed[name].indexOf(value);
        field(name).value = place < 0 ? "" : String(place + 1);
      }
      setTimeout(() => { update(); byId("gallery").scrollIntoView(); });
    }
    for (const button of document.querySelectorAll("main button[data-label]"))
      button.addEventListener("click", () => choose({ ...button.dataset }));

    // The map.
    const svg = byId("map");
    const side = (axis, size) => {
      const values = clips.map((clip) => clip.point[axis]);
      const low = Math.min(...values), span = Math.max(...values) - low || 1;
      return (value) => 25 + ((value - low) / span) * (size - 50);
    };
    const across = side(0, 1000), up = side(1, 600);
    const places = clips.map((clip) => [across(clip.point[0]), 600 - up(clip.point[1])]);
    const radius = clips.length > 700 ? 5 : 7;
    const points = clips.map((clip, place) => {
      const point = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      point.setAttribute("cx", places[place][0].toFixed(1));
      point.setAttribute("cy", places[place][1].toFixed(1));
      point.setAttribute("r", radius);
      point.style.fill = point.style.stroke = hue(classes.indexOf(clip.label), classes.length);
      if (clip.verdict === false) point.classList.add("wrong");
      point.dataset.place = place;
      svg.append(point);
      return point;
    });
    let here = -1;
    function point(place) {
      if (here >= 0) points[here].classList.remove("here");
      here = place;
      if (place < 0) return;
      svg.append(points[place]);
      points[place].classList.add("here");
      const clip = clips[place];
      byId("told").textContent = [clip.label, clip.found && `found as ${clip.found}`, clip.id]
        .filter(Boolean).join(" · ");
    }
    const under = (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 1000;
      const y = ((event.clientY - box.top) / box.height) * 600;
      let best = -1, least = 20 ** 2;
      for (const place of shown) {
        const distance = (places[place][0] - x) ** 2 + (places[place][1] - y) ** 2;
        if (distance < least) [best, least] = [place, distance];
      }
      return best;
    };
    svg.addEventListener("pointermove", (event) => {
      const place = under(event);
      if (place >= 0 && place !== here) point(place);
    });
    svg.addEventListener("click", (event) => {
      const place = under(event);
      if (place >= 0) { point(place); open(place); }
    });
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      const way = ways[event.key];
      if (event.key === "Enter" && here >= 0) open(here);
      if (!way || !shown.length) return;
      event.preventDefault();
      if (here < 0 || !shown.includes(here)) return point(shown[0]);
      let best = -1, least = Infinity; // the nearest in that direction, what is aside counts double
      for (const place of shown) {
        const dx = places[place][0] - places[here][0], dy = places[place][1] - places[here][1];
        const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1]) + Math.abs(dy * way[0]);
        if (place === here || along <= 0) continue;
        if (along + 2 * aside < least) [best, least] = [place, along + 2 * aside];
      }
      if (best >= 0) point(best);
    });
    classes.forEach((label, place) => {
      const dot = make("span", { className: "dot" });
      dot.style.background = hue(place, classes.length);
      const button = make("button", { type: "button" }, dot, label || "(no label)");
      button.dataset.label = label;
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "true";
        field("label").value = on ? "" : String(place + 1);
        update();
      });
      byId("legend").append(make("li", {}, button));
    });

    // One clip, and its neighbours.
    const dialog = byId("clip");
    let opened = -1;
    function whole(clip, name) {
      const file = clip.films[Math.min(mode, clip.films.length - 1)];
      const steps = Math.max(1, clip.times_seconds.length);
      const image = make("img", { className: "whole", loading: "lazy", src: file,
        alt: `Frames of ${name}`, width: clip.size[0] * steps, height: clip.size[1] });
      image.style.maxWidth = `${clip.size[0] * steps * 1.75}px`; // one picture need not fill the window
      return image;
    }
    function open(place) {
      opened = place;
      const clip = clips[place];
      byId("clip-title").textContent = clip.label || "(no label)";
      const rows = [["name", clip.id], ["session", clip.session], ["found as", clip.found],
        ...Object.entries(clip.facts)].filter(([, value]) => value !== "");
      if (clip.influence.length)
        rows.push(["influence of each frame", clip.influence.map((share) => `${Math.round(100 * share)} %`).join(" · ")]);
      const near = make("div", { className: "near" });
      for (const [other, id, distance] of clip.near) {
        const known = other >= 0 ? clips[other] : null;
        const title = make("p", {}, known
          ? make("button", { type: "button", className: "plain", textContent: known.label || "(no label)", onclick: () => open(other) })
          : "", ` ${id} · distance ${distance.toPrecision(3)}`, known && known.session ? ` · session ${known.session}` : "",
          known ? "" : " · not in this gallery");
        near.append(make("div", {}, title, known ? whole(known, id) : ""));
      }
      byId("clip-body").replaceChildren(
        make("p", {}, verdict(clip)), whole(clip, clip.id),
        make("table", { className: "facts" }, make("tbody", {}, ...rows.map(([name, value]) =>
          make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", { textContent: value }))))),
        make("h3", { textContent: clip.near.length ? "Its nearest" : "" }), near);
      if (!dialog.open) dialog.showModal();
      dialog.scrollTop = 0;
      point(place);
    }
    const go = (by) => {
      const place = shown.indexOf(opened);
      if (shown.length) open(shown[(Math.max(place, 0) + by + shown.length) % shown.length]);
    };
    byId("before").addEventListener("click", () => go(-1));
    byId("after").addEventListener("click", () => go(1));
    byId("close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") go(-1);
      if (event.key === "ArrowRight") go(1);
    });
    update();
  }

  // ── the page of a search ───────────────────────────────────────────────────────────────────
  function searchPage() {
    const select = byId("mode");
    data.modes.forEach((name, place) => select.append(make("option", { value: String(place), textContent: name })));
    select.addEventListener("input", () => setMode(Number(select.value)));
    data.matches.forEach((match, place) => {
      const pair = document.querySelectorAll(".pair")[place];
      const one = makeFilm(match.query, "the query"), other = makeFilm(match.found, match.found.id);
      one.kept = other.kept = true;
      const figure = (film, words) => make("figure", {}, film.pane, make("figcaption", { textContent: words }), film.bar);
      pair.append(figure(one, "the query"), figure(other, match.found.id));
      // One slider moves both: they are the same steps of two clips.
      const together = (from, to) => {
        const follow = () => to.show(Number(from.slider.value));
        from.slider.addEventListener("input", follow);
        from.slider.addEventListener("played", follow);
      };
      together(one, other);
      together(other, one);
    });
  }
})();
