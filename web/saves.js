// Two buttons below a list: copy its address, and save its entries as a file.

import { csv, cellRows } from './csv.js';
import { el, setText } from './dom.js';

const SAID_MS = 2500;

// `shown()` returns `link`, the `name` of the file, and the `cell`, or `rows` instead.
export function saves(shown, announce) {
  const copy = el('button', { class: 'button', type: 'button' }, 'Copy link');
  const save = el('button', { class: 'button', type: 'button' }, 'Save as CSV');
  copy.addEventListener('click', async () => {
    const said = (await copied(shown().link)) ? 'Copied' : 'Copy it from the address bar';
    setText(copy, said);
    announce(said);
    setTimeout(() => setText(copy, 'Copy link'), SAID_MS);
  });
  save.addEventListener('click', () => {
    const { name, cell, rows } = shown();
    if (rows ?? cell) download(`${name.replaceAll(/[^\w.-]+/g, '-')}.csv`, csv(rows ?? cellRows(cell)));
  });
  return el('div', { class: 'saves' }, copy, save);
}

// Browsers offer the clipboard on loopback and with TLS only.
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function download(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: 'text/csv;charset=utf-8' }));
  const link = el('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
