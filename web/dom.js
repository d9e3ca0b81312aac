// Creates elements. All text enters the document here, and never as HTML: any producer can write any title to the topic.

// Properties that begin with `on` are listeners. An attribute whose value is null or false is left out.
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// Writes only a text that has changed: writing the same text again would trigger a layout and screen readers.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A bar, filled to `part`. Hidden from screen readers, because the number is beside it.
export function bar(part = 0) {
  const element = el('span', { class: 'bar', 'aria-hidden': 'true' }, el('span', { class: 'fill' }));
  fillBar(element, part);
  return element;
}

export const fillBar = (element, part) => (element.firstChild.style.transform = `translateX(${(part - 1) * 100}%)`);

// A select element. `show(groups, chosen)` sets its options; `groups` are `[label, [[value, text], …]]`, and options without a
// label have no group.
export function picker(label, onPick) {
  const select = el('select', { 'aria-label': label, onchange: () => onPick(select.value) });
  let shown = '';
  const show = (groups, chosen) => {
    // Do not rebuild an open list without a change.
    const next = JSON.stringify([groups, chosen]);
    if (next === shown) return;
    shown = next;
    select.replaceChildren(
      ...groups.flatMap(([group, choices]) => {
        const made = choices.map(([value, text]) => el('option', { value, selected: value === chosen }, text));
        return group ? [el('optgroup', { label: group }, ...made)] : made;
      }),
    );
  };
  const element = el('div', { class: 'picker' }, el('span', { class: 'label', 'aria-hidden': 'true' }, label), select);
  return { element, show };
}
