// Notices instead of a list: why there is none, and links to lists with entries.

import { notice } from './list.js';
import { scope as scopeName } from './words.js';

const LINKS_MAX = 12;

// The notice for a server that has no list yet, by its status; null if it has.
export function nothingYet(status) {
  if (status?.no_plays) {
    return notice('Records arrived, but none is a valid play', status.no_plays, [['#/dead-letters', 'See the records']]);
  }
  const doing = { opening: 'opens its lake', rebuilding: 'reads its lake', catching_up: 'reads the topic’s history' };
  const what = doing[status?.phase];
  return what ? notice('Not yet', `The server still ${what}. The list appears by itself.`) : null;
}

// Links to the other scopes that have plays.
export const otherPlaces = (scopes, scope, addressOf) =>
  scopes
    .filter((other) => other !== scope)
    .slice(0, LINKS_MAX)
    .map((other) => [addressOf(other), scopeName(other)]);
