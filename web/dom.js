// Makes elements. The one way of the page to bring text into the document, so that none of it is ever read as HTML:
// what a track is called is decided by whoever writes to the topic.

// Properties that begin with `on` are listeners; a value of null or false leaves the attribute out.
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

// Only writes what is new: writing the same text again makes browsers lay out, and screen readers speak, for nothing.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A bar that is full to `part` of it. It says nothing that is not beside it as a number.
export function bar(part = 0) {
  const element = el('span', { class: 'bar', 'aria-hidden': 'true' }, el('span', { class: 'fill' }));
  fillBar(element, part);
  return element;
}

export const fillBar = (element, part) => (element.firstChild.style.transform = `translateX(${(part - 1) * 100}%)`);

// A list to choose from, which is shown again when there is something else to choose: `show(groups, chosen)`. `groups` are
// `[label, [[value, text], …]]`; without a label the options stand by themselves.
export function picker(label, onPick) {
  const select = el('select', { 'aria-label': label, onchange: () => onPick(select.value) });
  let shown = '';
  const show = (groups, chosen) => {
    // A list that somebody has opened must not be made anew for nothing.
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
