// What is said where a list would be, when there is none: why, and where there is something.

import { notice } from './list.js';
import { scope as scopeName } from './words.js';

const LINKS_MAX = 12;

// Why nothing at all can be shown yet, by what the server says of itself; null if it is not that.
export function nothingYet(status) {
  if (status?.no_plays) {
    return notice('Records came, but none is a play', status.no_plays, [['#/dead-letters', 'See what came']]);
  }
  const doing = { opening: 'opens its lake', rebuilding: 'reads its lake', catching_up: 'reads the topic’s history' };
  const what = doing[status?.phase];
  return what ? notice('Not yet', `The server still ${what}. The list will be here by itself.`) : null;
}

// Links to the other places that have plays.
export const otherPlaces = (scopes, scope, addressOf) =>
  scopes
    .filter((other) => other !== scope)
    .slice(0, LINKS_MAX)
    .map((other) => [addressOf(other), scopeName(other)]);
