// Asks the reader for the token, if the server requires one.
//
// It is kept for this tab only (sessionStorage): an operator's token must not stay in a browser that others use later.

import { el } from './dom.js';

const KEY = 'reprise-token';
let asked = null;

export const token = () => sessionStorage.getItem(KEY) ?? '';

// Requests that are refused at the same time share one form, and wait for it.
export function askForToken(refused) {
  // Meanwhile another request has set a newer token.
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
  const why = wrong ? 'The server did not accept that token.' : 'This server requires a token.';
  const form = el(
    'form',
    { method: 'dialog' },
    el('h2', { id: 'token-title' }, 'Token required'),
    el('p', { id: 'token-why' }, why),
    el('label', { for: 'token' }, 'Token'),
    input,
    el('button', { class: 'primary' }, 'Show the charts'),
  );
  const dialog = el('dialog', { 'aria-labelledby': 'token-title' }, form);
  // The form is not submitted, and CSP would forbid it.
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, input.value.trim());
    dialog.close();
    dialog.remove();
    done();
  });
  // Without a token there is nothing to show.
  dialog.addEventListener('cancel', (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
}
