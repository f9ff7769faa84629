// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

'use strict';

// The answer of the server, or an Error that says what it refused
async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Error('The server does not answer. Is it still running?');
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const wait = answer.headers.get('Retry-After');
  const said = typeof body.detail === 'string' ? body.detail : `The server answered ${answer.status}.`;
  throw new Error(wait ? `${said} Try again in ${wait} s.` : said);
}

const fromServer = {
  map: () => request('api/map'),
  read: id => request(`api/documents/${encodeURIComponent(id)}`),
  search: q => request(`api/search?q=${encodeURIComponent(q)}&k=12`),
  write: (x, y, method, signal) => request('api/generate', {
    method: 'POST', signal, headers: {'Content-Type': 'application/json'}, body: JSON.stringify({x, y, method}),
  }),
};

// The same answers out of the file itself
function fromFile(data) {
  const row = new Map(data.ids.map((id, i) => [id, i]));
  let words = null;
  const search = q => {
    words ??= bm25(data.titles.map((title, i) => `${title} ${data.texts[i]}`), {k1: 1.2, b: .75});
    const scores = words.score(q);
    const best = [...scores.keys()].filter(i => scores[i] > 0).sort((i, j) => scores[j] - scores[i]).slice(0, 12);
    return best.map(i => ({id: data.ids[i], title: data.titles[i], snippet: data.texts[i].slice(0, 160)}));
  };
  return {
    map: async () => data,
    read: async id => ({id, title: data.titles[row.get(id)], text: data.texts[row.get(id)]}),
    search: async q => ({hits: search(q)}),
  };
}
