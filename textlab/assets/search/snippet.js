// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// Letters and words in a text as it is written, with what is not seen
const SEEN = `[\\p{M}${IGNORED}]`;
const LETTERS = new RegExp(`(?=[${UNSPACED}])[\\p{L}\\p{N}]${SEEN}*`, 'gu');
const WRITTEN = new RegExp(`((?:${LETTERS.source})+)|${SPACED}(?:${SPACED}|${SEEN})*`, 'gu');

// The terms of a question that are worth marking: of a run without blanks its pairs alone, where it has any
function askedTerms(query) {
  const single = text => (text.match(LETTERS) || []).length === 1, wanted = new Set(terms(query));
  for (const [, run] of query.matchAll(WRITTEN)) {
    if (!run || single(run)) continue;
    for (const word of terms(run)) if (single(word)) wanted.delete(word);
  }
  return wanted;
}

// Where asked pairs and letters stand in a run without blanks, neighbours as one
function marksInRun(start, run, asked) {
  const letters = run.match(LETTERS), found = [];
  const pair = letters.map((letter, i) => i + 1 < letters.length && asked(letter + letters[i + 1]));
  let at = start;
  letters.forEach((letter, i) => {
    if (pair[i] || pair[i - 1] || asked(letter)) {
      const last = found.at(-1);
      if (last && last[0] + last[1] === at) last[1] += letter.length;
      else found.push([at, letter.length]);
    }
    at += letter.length;
  });
  return found;
}

// Place and length of each word of a text that the question holds, too
function marks(text, query) {
  const wanted = askedTerms(query), known = new Map();
  function asked(word) {
    if (!known.has(word)) known.set(word, terms(word).some(term => wanted.has(term)));
    return known.get(word);
  }
  const inRun = letters => wanted.has(terms(letters).at(-1));  // a pair is the last of its terms
  return [...text.matchAll(WRITTEN)].flatMap(match => {
    if (match[1]) return marksInRun(match.index, match[1], inRun);
    return asked(match[0]) ? [[match.index, match[0].length]] : [];
  });
}

// Where the best window of `width` letters starts, and where its last marked word ends. A window begins at each
// marked word; `next` is the first word that does not end inside it, and only moves to the right, as the window does.
function bestWindow(found, width) {
  let start = 0, last = 0, most = -1, letters = 0, next = 0;
  found.forEach(([at, length], i) => {
    while (next < found.length && found[next][0] + found[next][1] <= at + width) letters += found[next++][1];
    if (letters > most) {
      most = letters;
      start = at;
      last = next > i ? found[next - 1][0] + found[next - 1][1] : at;
    }
    if (next > i) letters -= length;
    else next = i + 1;
  });
  return [start, last];
}

function snippet(text, query, width = 160) {
  text = text.trim().replace(/\s+/g, ' ');
  if (text.length <= width) return text;
  const [best, last] = bestWindow(marks(text, query), width);
  const s = Math.max(0, Math.min(best - Math.min(width >> 2, best + width - last), text.length - width));
  let start = 0, end = text.length;
  if (s > 0) {
    const gap = text.indexOf(' ', s - 1);
    start = gap >= 0 && gap < best ? gap + 1 : best;
  }
  if (start + width < end) {
    const gap = text.lastIndexOf(' ', start + width);
    end = Math.max(gap < start ? -1 : gap, last, start + (width >> 1));
  }
  return (start ? '… ' : '') + text.slice(start, end) + (end < text.length ? ' …' : '');
}
