// Asks for the token of a server that wants one.
//
// It is kept for this tab only (sessionStorage): a token for operators has no place in a browser that others use later.

import { el } from './dom.js';

const KEY = 'reprise-token';
let asked = null;

export const token = () => sessionStorage.getItem(KEY) ?? '';

// However many requests are refused at once, there is one form, and all of them wait for it.
export function askForToken(refused) {
  // Another request has been answered with a newer token meanwhile.
  if (refused !== token()) return Promise.resolve();
  asked ??= new Promise((resolve) => open(refused !== '', resolve)).finally(() => (asked = null));
  return asked;
}

function open(wrong, done) {
  const input = el('input', {
    id: 'token',
    type: 'password',
    required: true,
    autocomplete: 'off',
    spellcheck: 'false',
    'aria-describedby': 'token-why',
  });
  const why = wrong ? 'The server did not accept that token.' : 'This server wants a token before it shows its charts.';
  const form = el(
    'form',
    { method: 'dialog' },
    el('h2', { id: 'token-title' }, 'Who is there?'),
    el('p', { id: 'token-why' }, why),
    el('label', { for: 'token' }, 'Token'),
    input,
    el('button', { class: 'primary' }, 'Show the charts'),
  );
  const dialog = el('dialog', { 'aria-labelledby': 'token-title' }, form);
  // CSP forbids forms to go anywhere, and this one need not.
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, input.value.trim());
    dialog.close();
    dialog.remove();
    done();
  });
  // There is nothing to see behind it.
  dialog.addEventListener('cancel', (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
}
