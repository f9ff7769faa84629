// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// A function from a text to its bag: the known words and their beginnings, by number, with their counts
function bagger(words, prefix) {
  const number = new Map(words.map((word, i) => [word, i])), heads = new Map();

  // The beginning of a word that is long enough and made of letters, or ''
  function head(word) {
    const letters = [...word];
    return prefix && letters.length >= prefix && /^\p{L}+$/u.test(word) ? letters.slice(0, prefix).join('') : '';
  }

  for (const word of words) {
    const beginning = head(word);
    if (beginning && !heads.has(beginning)) heads.set(beginning, words.length + heads.size);
  }
  return text => {
    const known = terms(text).filter(word => number.has(word));
    return count(known.flatMap(word => {
      const beginning = heads.get(head(word));
      return beginning === undefined ? [number.get(word)] : [number.get(word), beginning];
    }));
  };
}

function encoder({words, prefix, codes, k1, alpha, trained, fixed}) {
  const bag = bagger(words.split(' '), prefix), code = unpack(codes, Int32Array);
  const learned = layer(code, k1, trained), random = fixed && layer(code, k1, fixed);

  function encode(text) {
    const found = bag(text), x = learned(found);
    if (!random) return x;
    return unit(Float64Array.from([...x, ...random(found).map(v => v*Math.sqrt(alpha))]));
  }

  return {encode, terms: code.length/2, dim: trained.dim + (fixed ? fixed.dim : 0)};
}
