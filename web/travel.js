// How the rows of a list get to their new ranks, without holes between them and without one covering another.
//
// Most rows keep their order, and slide. The few that do not fold up where they were while they unfold where they go, so
// that at each moment all rows together fill the list just as before. The places of all are linear in time.

const TIMING = { duration: 320, easing: 'cubic-bezier(.3,.7,.3,1)', fill: 'backwards' };

// `before` and `after` are keys from the top down. Gives by key, counted in rows, for each row that slides the place that it
// comes `from` and is `at` in the end, for each that unfolds where its gap begins (`from`) and where it is in the end (`at`),
// and for each that folds up where it was (`at`) and where it vanishes (`to`).
export function plan(before, after) {
  const [slides, unfolds, folds] = [new Map(), new Map(), new Map()];
  // Where the gap begins between two rows that stay, before and after.
  let start = { old: 0, now: 0 };
  for (const { key, old, now } of [...keepOrder(before, after), { old: before.length, now: after.length }]) {
    for (let place = start.old; place < old; place++) folds.set(before[place], { at: place, to: start.now });
    for (let place = start.now; place < now; place++) unfolds.set(after[place], { from: old, at: place });
    if (key !== undefined && old !== now) slides.set(key, { from: old, at: now });
    start = { old: old + 1, now: now + 1 };
  }
  return { slides, unfolds, folds };
}

// The longest part of `after` that has the order of `before`, as `{ key, old, now }`.
function keepOrder(before, after) {
  const places = new Map(before.map((key, place) => [key, place]));
  const known = after.map((key, now) => ({ key, now, old: places.get(key) })).filter(({ old }) => old !== undefined);
  // The smallest end of an increasing run of each length, and whom each one comes after.
  const ends = [];
  for (const one of known) {
    let length = ends.length;
    while (length > 0 && ends[length - 1].old > one.old) length--;
    one.after = ends[length - 1] ?? null;
    ends[length] = one;
  }
  const kept = [];
  for (let one = ends.at(-1) ?? null; one; one = one.after) kept.unshift(one);
  return kept;
}

// Has the rows of `list`, which are in their new order, go there as `plan` says. `ghosts` are copies of those that fold up.
// Resolves when all have arrived.
export function travel(list, rows, { slides, unfolds, folds }, ghosts, height) {
  const journeys = [];
  const go = (element, from, to) => journeys.push(element.animate([from, to], TIMING).finished);
  const at = (distance, fold = 1) => ({ transform: `translateY(${distance * height}px) scaleY(${fold})` });
  for (const [key, fold] of folds) {
    const ghost = ghosts.get(key);
    ghost.style.top = `${fold.at * height}px`;
    list.append(ghost);
    go(ghost, at(0), at(fold.to - fold.at, 0));
  }
  for (const [key, slide] of slides) go(rows.get(key).element, at(slide.from - slide.at), at(0));
  for (const [key, unfold] of unfolds) go(rows.get(key).element, at(unfold.from - unfold.at, 0), at(0));
  return Promise.allSettled(journeys).then(() => ghosts.forEach((ghost) => ghost.remove()));
}
