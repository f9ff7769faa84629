// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// How often each item occurs, as a Map
function count(items) {
  const counts = new Map();
  for (const item of items) counts.set(item, (counts.get(item) || 0) + 1);
  return counts;
}

// Which passages hold each word: lists of passage, count, passage, count …; and how many terms each passage has
function postings(texts) {
  const lists = new Map(), lengths = new Float64Array(texts.length);
  texts.forEach((text, p) => {
    const found = terms(text);
    lengths[p] = found.length;
    for (const [word, c] of count(found)) {
      if (!lists.has(word)) lists.set(word, []);
      lists.get(word).push(p, c);
    }
  });
  return {lists, lengths};
}

function bm25(texts, {k1, b}) {
  const N = texts.length, {lists, lengths} = postings(texts);
  const mean = lengths.reduce((sum, n) => sum + n, 0)/N;
  const listOf = word => lists.get(word) || [];

  // The number of passages that hold a word
  const passages = word => listOf(word).length/2;

  // The score of every passage for a question
  function score(query) {
    const scores = new Float64Array(N);
    for (const word of terms(query)) {
      const list = listOf(word), n = passages(word);
      const idf = Math.log(1 + (N - n + .5)/(n + .5));
      for (let i = 0; i < list.length; i += 2) {
        const p = list[i], c = list[i + 1];
        scores[p] += idf*c/(c + k1*(1 - b + b*lengths[p]/mean));
      }
    }
    return scores;
  }

  return {score, passages};
}
