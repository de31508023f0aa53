// Draws what has changed, once for each frame of the screen, however often it changes.

const changed = new Set();

export function paint(thing) {
  if (changed.size === 0) requestAnimationFrame(draw);
  changed.add(thing);
}

function draw() {
  const things = [...changed];
  changed.clear();
  for (const thing of things) thing.draw();
}
