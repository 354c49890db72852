"use strict";
(() => {
  const viewer = DATA.viewer;
  if (!viewer) return;
  const canvases = [...document.querySelectorAll("canvas[data-layer]")];
  const frameInput = document.getElementById("frame");
  const sliceInput = document.getElementById("slice");
  const playButton = document.getElementById("play");
  const opacityInput = document.getElementById("opacity");
  const speedInput = document.getElementById("speed");
  const sheets = viewer.slices.map((slice) => Object.fromEntries(
    Object.entries(slice).map(([name, source]) => {
      const image = new Image();
      image.onload = () => draw();
      image.src = source;
      return [name, image];
    })));
  let frame = 0;
  let playing = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let last = null;
  let elapsed = 0;

  const ready = (image) => image && image.complete && image.naturalWidth > 0;

  function draw() {
    const slice = Number(sliceInput.value);
    const x = (frame % viewer.across) * viewer.width;
    const y = Math.floor(frame / viewer.across) * viewer.height;
    for (const canvas of canvases) {
      const context = canvas.getContext("2d");
      const base = sheets[slice][canvas.dataset.layer];
      if (!ready(base)) continue;
      context.globalAlpha = 1;
      context.drawImage(base, x, y, viewer.width, viewer.height, 0, 0, canvas.width, canvas.height);
      const over = canvas.dataset.over && sheets[slice][canvas.dataset.over];
      if (ready(over)) {
        context.globalAlpha = Number(opacityInput.value) / 100;
        context.drawImage(over, x, y, viewer.width, viewer.height, 0, 0, canvas.width, canvas.height);
      }
    }
    frameInput.value = frame;
    document.getElementById("frame-text").value = viewer.times[slice]
      ? `${Math.round(viewer.times[slice][frame])} ms` : `${frame + 1} / ${viewer.frames}`;
    document.getElementById("slice-text").value = `${slice + 1} / ${viewer.slices.length}`;
    document.getElementById("opacity-text").value = `${opacityInput.value} %`;
    document.getElementById("speed-text").value = `${speedInput.value} %`;
    for (const chart of document.querySelectorAll("svg.chart[data-x]")) {
      const x = chart.dataset.x.split(" ")[frame];
      if (x === undefined) continue;
      const cursor = chart.querySelector(".cursor");
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      for (const dot of chart.querySelectorAll(".dot")) {
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", dot.dataset.y.split(" ")[frame]);
      }
    }
    for (const value of document.querySelectorAll("b[data-values]")) {
      value.textContent = (value.dataset.values.split(" ")[frame] || "").replace("-", "\u2212");
    }
  }

  function show(next) {
    frame = ((next % viewer.frames) + viewer.frames) % viewer.frames;
    draw();
  }

  function setPlaying(on) {
    playing = on;
    last = null;
    playButton.textContent = on ? "Pause" : "Play";
  }

  function tick(now) {
    if (playing && last !== null) {
      elapsed += (now - last) * Number(speedInput.value) / 100;
      const step = viewer.cycle / viewer.frames;
      if (elapsed >= step) {
        const steps = Math.floor(elapsed / step);
        elapsed -= steps * step;
        show(frame + steps);
      }
    }
    last = now;
    requestAnimationFrame(tick);
  }

  playButton.onclick = () => setPlaying(!playing);
  frameInput.oninput = () => { setPlaying(false); show(Number(frameInput.value)); };
  sliceInput.oninput = draw;
  opacityInput.oninput = draw;
  speedInput.oninput = draw;
  for (const canvas of canvases) {
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const next = Number(sliceInput.value) + Math.sign(event.deltaY);
      sliceInput.value = Math.max(0, Math.min(viewer.slices.length - 1, next));
      draw();
    }, { passive: false });
  }
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, button, a")) return;
    if (event.key === " ") { event.preventDefault(); setPlaying(!playing); }
    if (event.key === "ArrowRight") { setPlaying(false); show(frame + 1); }
    if (event.key === "ArrowLeft") { setPlaying(false); show(frame - 1); }
  });
  setPlaying(playing);
  draw();
  requestAnimationFrame(tick);
})();
