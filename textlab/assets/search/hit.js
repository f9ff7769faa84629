// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// An element with its properties or attributes, and what stands in it
function make(name, given = {}, ...inside) {
  const element = document.createElement(name);
  for (const key in given) {
    if (key in element) element[key] = given[key];
    else element.setAttribute(key, given[key]);
  }
  element.append(...inside);
  return element;
}

// A text in pieces, the words of the question as <mark> elements
function marked(text, query) {
  const parts = [];
  let at = 0;
  for (const [start, length] of marks(text, query)) {
    parts.push(text.slice(at, start), make('mark', {}, text.slice(start, start + length)));
    at = start + length;
  }
  return [...parts, text.slice(at)];
}

const SCORES = {words: 'BM25', vectors: 'cosine', both: 'sum of standardised scores'};

// The score, and for readers who ask or listen what it is
function scoreOf(score, mode) {
  const shown = score.toFixed(2), what = SCORES[mode];
  return make('span', {className: 'score', title: what, 'aria-label': `${what} ${shown}`}, shown);
}

function hit(E, {p, id, score, words}, query, mode) {
  const title = E.titles[p], text = E.texts[p], wanted = E.telling(query).join(' ');
  const name = make('button', {type: 'button', 'aria-expanded': 'false'}, title || id);
  const short = make('p', {className: 'short'}, ...marked(snippet(text, wanted), wanted));
  const whole = make('p', {className: 'whole', hidden: true});
  const common = words.length ? 'words: ' + words.join(', ') : 'no telling word in common';
  const about = make('p', {className: 'about'}, title ? id : '', make('span', {}, common));

  function toggle() {
    if (!whole.firstChild) whole.append(...marked(text, wanted));
    whole.hidden = !whole.hidden;
    short.hidden = !whole.hidden;
    name.setAttribute('aria-expanded', !whole.hidden);
  }

  const heading = make('h2', {}, name, scoreOf(score, mode));
  const onclick = event => { if (!whole.contains(event.target)) toggle(); };
  return make('li', {onclick}, heading, short, whole, about);
}
