// Animates the rows of a list to their new ranks, without holes and without overlaps.
//
// Most rows keep their order, and slide. The others fold up at their old rank while they unfold at the new one, so that at each
// moment all rows together fill the list. All positions are linear in time.

const TIMING = { duration: 320, easing: 'cubic-bezier(.3,.7,.3,1)', fill: 'backwards' };

// `before` and `after` are keys from the top down. Returns positions by key, counted in rows. For a row that slides: its old (`from`)
// and new position (`at`). For one that unfolds: where its gap begins (`from`) and its new position (`at`). For one that folds up:
// its old position (`at`) and where it vanishes (`to`).
export function plan(before, after) {
  const [slides, unfolds, folds] = [new Map(), new Map(), new Map()];
  // The start of the gap between two rows that keep their order, before and after.
  let start = { old: 0, now: 0 };
  for (const { key, old, now } of [...keepOrder(before, after), { old: before.length, now: after.length }]) {
    for (let place = start.old; place < old; place++) folds.set(before[place], { at: place, to: start.now });
    for (let place = start.now; place < now; place++) unfolds.set(after[place], { from: old, at: place });
    if (key !== undefined && old !== now) slides.set(key, { from: old, at: now });
    start = { old: old + 1, now: now + 1 };
  }
  return { slides, unfolds, folds };
}

// The longest subsequence of `after` in the order of `before`, as `{ key, old, now }`.
function keepOrder(before, after) {
  const places = new Map(before.map((key, place) => [key, place]));
  const known = after.map((key, now) => ({ key, now, old: places.get(key) })).filter(({ old }) => old !== undefined);
  // The smallest last element of an increasing subsequence of each length, and the predecessor of each element.
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

// Animates the rows of `list`, which are in their new order already, by `plan`. `ghosts` are copies of the rows that fold up.
// Resolves at the end of all animations.
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
