// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// Scores with mean 0 and deviation 1; zeros where all are equal
function zscore(scores) {
  const n = scores.length, mean = scores.reduce((sum, v) => sum + v, 0)/n;
  const deviation = Math.sqrt(scores.reduce((sum, v) => sum + (v - mean)**2, 0)/n);
  return scores.map(v => deviation > 1e-7 ? (v - mean)/deviation : 0);
}

// The vectors of the passages, computed one at a time
function vectorsOf(texts, {encode, dim}) {
  const N = texts.length, vectors = new Float32Array(N*dim);
  let done = 0;

  // Compute the next one; false when all are there
  function step() {
    if (done < N) {
      vectors.set(encode(texts[done]), dim*done);
      done++;
    }
    return done < N;
  }

  function cosines(x) {
    const scores = new Float64Array(N);
    for (let p = 0, at = 0; p < N; p++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += vectors[at++]*x[i];
      scores[p] = sum;
    }
    return scores;
  }

  return {step, cosines, done: () => done};
}

// The three ways to search: the scores of all passages, and whether anything of the question is known
function waysOf(words, model, vectors, N, lambda) {
  const ways = {
    words(query) {
      const scores = words.score(query);
      return {scores, known: scores.some(v => v > 0)};
    },
    vectors(query) {
      const x = model.encode(query), known = x.some(v => v !== 0);
      return {scores: known ? vectors.cosines(x) : new Float64Array(N), known};
    },
    both(query) {
      const a = ways.words(query), b = ways.vectors(query), z = zscore(b.scores);
      return {scores: zscore(a.scores).map((v, p) => v + lambda*z[p]), known: a.known || b.known};
    },
  };
  return ways;
}

function engine(data) {
  folding = data.fold !== false;
  const {ids, titles, texts} = data, N = texts.length;
  const full = texts.map((text, p) => titles[p] ? titles[p] + '. ' + text : text);
  const words = bm25(full, data.bm25), model = encoder(data.encoder), vectors = vectorsOf(full, model);
  const ways = waysOf(words, model, vectors, N, data.weight);

  // The words of a question that stand in few passages, the rarest first; all of them where none is rare
  function telling(query) {
    const asked = [...new Set(terms(query))].sort((u, v) => words.passages(u) - words.passages(v));
    const rare = asked.filter(u => words.passages(u) <= Math.max(3, N/4));
    return rare.length ? rare : asked;
  }

  // Those of the words that a passage holds
  function shared(wanted, p) {
    const held = new Set(terms(full[p]));
    return wanted.filter(u => held.has(u));
  }

  function search(query, mode, k = 10) {
    const used = vectors.done() < N ? 'words' : mode, {scores, known} = ways[used](query);
    const answers = p => known && (used !== 'words' || scores[p] > 0);
    const order = [...scores.keys()].filter(answers).sort((a, b) => scores[b] - scores[a] || a - b);
    const wanted = telling(query);
    const hits = order.slice(0, k).map(p => ({p, id: ids[p], score: scores[p], words: shared(wanted, p)}));
    return {mode: used, known, hits};
  }

  const {terms: known, dim} = model, {step, done} = vectors;
  return {N, terms: known, dim, titles, texts, ids, step, done, search, telling};
}
