// Draws changed objects once per animation frame.

const changedItems = new Set();

export function paint(item) {
  if (changedItems.size === 0) requestAnimationFrame(draw);
  changedItems.add(item);
}

function draw() {
  const items = [...changedItems];
  changedItems.clear();
  for (const item of items) item.draw();
}
